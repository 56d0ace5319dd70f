"""What a file of weights really is, by its first bytes and its members."""

from __future__ import annotations

import zipfile
from pathlib import Path

from swfastedit_core.files.signature import wrong_kind

OWN_SUFFIX = ".safetensors"
SUFFIXES = (OWN_SUFFIX, ".pt", ".pth", ".ckpt")
ENDINGS = ".safetensors, .pt, .pth or .ckpt"
SAVE_AGAIN = "save its weights alone, where its classes are installed: torch.save({'net': model.state_dict()}, FILE)"
ZIP = b"PK\x03\x04"


def wrong_weights(path: Path) -> str | None:
    """Say what a file is that holds no weights of the format that its name promises; None for everything else.

    Returns
    -------
    str or None
        What it is and what to do, as the part of a message behind the file's name.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        return "the file is empty; copy or download it again"
    own = path.suffix == OWN_SUFFIX
    kind = wrong_kind(path)
    if kind is None and _is_torchscript(path):
        kind = f"is a TorchScript archive, which holds a program; {SAVE_AGAIN}"
    if kind is None and own and start.startswith(ZIP):
        kind = "is a PyTorch file by its first bytes; give its name the ending .pt"
    if kind is None and not own and start[4:10] == b'\0\0\0\0{"':  # length of the header in 8 bytes, then JSON
        kind = f"is a {OWN_SUFFIX} file by its first bytes; give its name that ending"
    return kind


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "constants.pkl" in {name.partition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError):
        return False
