"""Read the safetensors file of a command; never a pickle."""

import zipfile
from pathlib import Path

from tensorly_rnn.cli.errors import TROUBLE, CommandError
from tensorly_rnn.files._container import Stored, read
from tensorly_rnn.files.factorized import Description, descriptions

#: Suffixes of pickles, and the first bytes of those that are no archives.
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
BEGINNINGS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
PICKLE = (
    "{path} is a pickle by its name or content, and loading a pickle may run any program: it is never loaded here. If you "
    "trust it, convert it in Python: state = torch.load({name!r}, map_location='cpu', weights_only=True); "
    "safetensors.torch.save_file({{name: one.contiguous().clone() for name, one in state.items()}}, {new!r}). "
    "If the tensors are in an entry of the checkpoint, take it first: state = state['model'], for example"
)
ARRAYS = (
    "{path} is an archive of NumPy; expected a safetensors file. Convert it in Python: "
    "safetensors.numpy.save_file(dict(numpy.load({name!r})), {new!r})"
)


def open_file(path: Path) -> tuple[dict[str, Stored], dict[str, str], dict[str, Description]]:
    """Return the tensors of a file, its metadata, and the descriptions of its factorized matrices."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; expected a safetensors file.")
    if path.is_file() and path.suffix.lower() in PICKLES:
        raise _refused(path, PICKLE)
    try:
        tensors, metadata = read(path)
        return tensors, metadata, descriptions(path, metadata)
    except ValueError as error:
        # Checked only now: the length of a header may be the first bytes of a pickle.
        raise _refused(path, _advice(path), str(error)) from None


def _advice(path: Path) -> str:
    """Return how to convert a file of another kind, found by its content; empty for other files."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return PICKLE if file.read(2) in BEGINNINGS else ""
    with zipfile.ZipFile(path) as archive:
        suffixes = {Path(name).suffix for name in archive.namelist()}
    return ARRAYS if suffixes == {".npy"} else PICKLE if ".pkl" in suffixes else ""


def _refused(path: Path, advice: str, reason: str = "") -> CommandError:
    if not advice:
        return CommandError(reason, TROUBLE)
    return CommandError(advice.format(path=path, name=path.name, new=path.with_suffix(".safetensors").name))
