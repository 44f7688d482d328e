"""Peak memory of two training steps above the import and the input, each system in a process of its own."""

import importlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from tests.benchmarks.speed import peers
from tests.benchmarks.speed.cases import DENSE, Case
from tests.benchmarks.speed.timing import Row, Setting, step


def peak_bytes(device: str) -> int:
    """Return the most that this process has held, resident or on the accelerator."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # getrusage remembers what held the process before its exec: the parent
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(case: Case, name: str, setting: Setting) -> int:
    """Return the bytes of one system in this process."""
    system = next(one for one in case.systems if one.name == name)
    if system.package in peers.MODULES:
        importlib.import_module(peers.MODULES[system.package])
    x = torch.randn(case.shape, device=setting.device)
    before = peak_bytes(setting.device)
    module = system.make().to(setting.device)
    for _ in range(2):
        step(module, x, setting)
    return peak_bytes(setting.device) - before


def measured(case: Case, names: list[str], setting: Setting, threads: int) -> list[Row]:
    """Run a process for every system."""
    command = [sys.executable, "-m", "tests.benchmarks.speed", "--device", setting.device, "--threads", str(threads)]
    found = {}
    for name in names:
        child = [*command, "--cases", case.key, "--precision", setting.precision, "--child", name]
        done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    about = {"case": case.key, "title": case.title, "precision": setting.precision, "measure": "memory"}
    packages = {system.name: system.package for system in case.systems}
    return [
        {**about, "system": name, "package": packages[name], "megabytes": size / 1e6, "ratio": found[DENSE] / size}
        for name, size in found.items()
    ]
