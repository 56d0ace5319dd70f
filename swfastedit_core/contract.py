"""What grand-challenge.org expects of an algorithm container: its folders and file names."""

from __future__ import annotations

from pathlib import Path

from swfastedit_core.errors import UserError

INPUT = Path("/input")
OUTPUT = Path("/output")
MODEL = Path("/opt/ml/model")  # an uploaded model tarball is unpacked here
PET = Path("images/pet")
MASK = Path("images/automated-petct-lesion-segmentation")
WEIGHTS = (".safetensors", ".pt")


def find_pets(folder: Path) -> list[Path]:
    """List the PET files of a case.

    Parameters
    ----------
    folder
        The platform's ``/input``, or one like it.

    Returns
    -------
    list of Path
        ``images/pet/*.mha``, at least one, sorted.

    Raises
    ------
    UserError
        If there is none.
    """
    pet = folder / PET
    if not pet.is_dir():
        raise UserError(
            f"{pet}: no such folder, expected the PET there as one .mha file; use --pet FILE for a file elsewhere"
        )
    found = sorted(path for path in pet.iterdir() if path.name.endswith(".mha") and not path.name.startswith("."))
    if not found:
        others = ", ".join(sorted(path.name for path in pet.iterdir())[:5]) or "nothing"
        raise UserError(f"{pet}: found {others}, expected one .mha file")
    return found


def mask_path(folder: Path, pet: Path) -> Path:
    """Where the mask of a case goes: the PET's name in the mask's folder below the platform's ``/output``."""
    return folder / MASK / pet.name


def default_weights(project: Path, model: Path = MODEL) -> Path:
    """Return the folder with the uploaded model's weights; the project's ``weights`` where nothing was uploaded.

    Raises
    ------
    UserError
        If something was uploaded, but no weights, or weights in several folders: to fall back on others in
        silence would give masks of the wrong network.
    """
    uploaded = [
        path
        for path in model.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(model).parts)
    ]
    if not uploaded:
        return project / "weights"
    folders = sorted({path.parent for path in uploaded if path.suffix in WEIGHTS})
    if len(folders) != 1:
        found = ", ".join(str(path.relative_to(model)) for path in sorted(uploaded)[:5])
        raise UserError(f"{model}: found {found}, expected weights ({' or '.join(WEIGHTS)}) in one folder")
    return folders[0]
