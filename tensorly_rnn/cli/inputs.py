"""Read the safetensors file of a command; never a pickle."""

from pathlib import Path

from tensorly_rnn.cli.errors import TROUBLE, CommandError
from tensorly_rnn.files._container import Stored, read
from tensorly_rnn.files.factorized import Description, descriptions

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
#: First bytes of torch's archives and of plain pickles.
BEGINNINGS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def open_file(path: Path) -> tuple[dict[str, Stored], dict[str, str], dict[str, Description]]:
    """Return the tensors of a file, its metadata, and the descriptions of its factorized matrices."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder; expected a safetensors file.")
    if path.is_file() and path.suffix.lower() in PICKLES:
        raise _refused(path)
    try:
        tensors, metadata = read(path)
        return tensors, metadata, descriptions(path, metadata)
    except ValueError as error:
        with path.open("rb") as file:
            # Checked only now: the length of a header may have the same bytes.
            if file.read(4).startswith(BEGINNINGS):
                raise _refused(path) from None
        raise CommandError(str(error), TROUBLE) from None


def _refused(path: Path) -> CommandError:
    return CommandError(
        f"{path} is a pickle by its name or beginning, and loading a pickle may run any program: it is never loaded here. "
        f"If you trust it, convert it in Python: safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), "
        f"{path.with_suffix('.safetensors').name!r})"
    )
