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
    found = sorted(
        path for path in pet.iterdir() if path.name.lower().endswith(".mha") and not path.name.startswith(".")
    )
    if not found:
        others = ", ".join(sorted(path.name for path in pet.iterdir())[:5]) or "nothing"
        raise UserError(f"{pet}: found {others}, expected one .mha file")
    return found


def mask_path(folder: Path, pet: Path) -> Path:
    """Where the mask of a case goes: the PET's name in the mask's folder below the platform's ``/output``."""
    return folder / MASK / pet.name


def default_weights(project: Path, model: Path = MODEL) -> Path:
    """Return the uploaded model where it holds weights, else the folder ``weights`` of the project."""
    if model.is_dir() and any(path.suffix in WEIGHTS for path in model.iterdir()):
        return model
    return project / "weights"
