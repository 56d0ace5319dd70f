"""The image files of a folder, and what is found in place of a file that is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import suffix_of

USUAL = ".nii.gz"  # ending in messages about a file that is missing in an empty folder


@dataclass(frozen=True)
class ImageFolder:
    """The image files of a folder, by their names without the ending.

    Attributes
    ----------
    path
        The folder; it may be missing.
    images
        Files whose endings are in lower case, as `files` reads them.
    other_case
        Files with the ending of an image in upper case, such as ``b.NII.GZ``.
    """

    path: Path
    images: dict[str, Path]
    other_case: dict[str, Path]

    @cached_property
    def all_images(self) -> dict[str, Path]:
        """All of both kinds."""
        return {**self.other_case, **self.images}

    def similar(self, name: str) -> Path | None:
        """Return the file whose name differs from this one at most in upper and lower case."""
        return self._by_folded_name.get(name.casefold())

    def describe_missing(self, name: str) -> str:
        """Say which file was expected, and which one has the same name in another case."""
        ending = next((suffix_of(path) for path in self.images.values()), USUAL)
        expected = f"expected {self.path / name}{ending}"
        similar = self.similar(name)
        if similar is None:
            return expected
        return f"{expected}; {similar.name} differs from it in upper and lower case, rename it"

    @cached_property
    def _by_folded_name(self) -> dict[str, Path]:
        return {name.casefold(): path for name, path in self.all_images.items()}


def list_images(folder: Path) -> ImageFolder:
    """List the image files of a folder; none where there is no such folder.

    Raises
    ------
    UserError
        If two files have the same name and different endings.
    """
    images: dict[str, Path] = {}
    other_case: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith("."):  # metadata of macOS
            continue
        if suffix_of(path) is not None:
            other = images.setdefault(stem_of(path), path)
            if other != path:
                raise UserError(f"{path} and {other.name} could be the same scan; remove one")
        elif suffix := suffix_of(Path(path.name.lower())):
            other_case[path.name[: -len(suffix)]] = path
    return ImageFolder(folder, images, other_case)


def stem_of(path: Path) -> str:
    """Return the name of an image file without its ending."""
    return path.name.removesuffix(suffix_of(path) or "")


def list_folders(folder: Path) -> Iterable[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
