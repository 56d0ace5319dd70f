"""Names of the cases of data sets."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.errors import UserError
from swfastedit_core.files.formats import suffix_of
from swfastedit_core.train.data.sources import Source

SUFFIX_OF_PHANTOMS = ".nii.gz"  # of their masks


@dataclass(frozen=True)
class NamedSource:
    """A case with a name that no other case has, and the file for its mask, if one is wanted."""

    name: str
    source: Source
    mask: Path | None


def name_sources(sources: Sequence[Source], predictions: Path | None = None) -> list[NamedSource]:
    """Name cases as their data sets name them; if two have the same name, all begin with the name of the data set.

    Parameters
    ----------
    sources
        Of one data set or several.
    predictions
        Folder for the masks. A mask has the name of the case and the format of the scan.

    Raises
    ------
    UserError
        If two cases still have the same name; names that differ only in case are the same in some file systems.
    """
    names = [source.case for source in sources]
    if _repeated(names) is not None:
        names = [f"{_data_set(source)}/{source.case}" for source in sources]
    if (same := _repeated(names)) is not None:
        raise UserError(f"two cases are named {same}; evaluate their data sets one after the other")
    return [
        NamedSource(name, source, predictions / f"{name}{_suffix(source)}" if predictions else None)
        for name, source in zip(names, sources, strict=True)
    ]


def _suffix(source: Source) -> str:
    return SUFFIX_OF_PHANTOMS if source.pet is None else (suffix_of(source.pet) or SUFFIX_OF_PHANTOMS)


def _data_set(source: Source) -> str:
    """Return the last folder of a data set, or the word for phantoms."""
    layout, _, place = source.group.partition(":")
    return layout if source.phantom_seed is not None else Path(place).resolve().name


def _repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            return name
        seen.add(folded)
    return None
