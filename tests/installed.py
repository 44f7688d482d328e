"""Checks of the installed package with its extra ``cli`` only; run by .ci/package.

``python tests/installed.py FOLDER``
"""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

import tensorly_rnn as tlr
from tensorly_rnn.files import load_factorized, save_factorized


def command(*arguments):
    program = Path(sysconfig.get_path("scripts")) / "tensorly-rnn"
    return subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def main(folder):
    folder.mkdir()
    installed = Path(tlr.__file__).parent
    assert installed.parent == Path(sysconfig.get_path("purelib")), f"imported from {installed}"
    assert (installed / "py.typed").exists()
    version = importlib.metadata.version("tensorly-rnn")
    assert command("--version") == f"tensorly-rnn {version}\n" and version == tlr.__version__
    assert (
        "compress"
        in subprocess.run([sys.executable, "-m", "tensorly_rnn", "--help"], check=True, capture_output=True, text=True).stdout
    )
    weight = tlr.HTMatrix.random(((8, 8), (8, 8)), 2, random_state=0).to_matrix()
    save_factorized(folder / "dense.safetensors", {}, {"layer.weight": weight})
    command("compress", folder / "dense.safetensors", folder / "small.safetensors", "--format", "ht", "--eps", 1e-9)
    f = load_factorized(folder / "small.safetensors")["layer.weight"]
    np.testing.assert_allclose(f.to_matrix(), weight, atol=1e-9)
    assert "layer.weight" in command("inspect", folder / "small.safetensors") and "ht" in command("plan", 64, 64)
    print(f"tensorly-rnn {version}: installed, and {f.compression_ratio:.0f} times fewer numbers")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
