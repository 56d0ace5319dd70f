"""Results of cases in files, each under a key of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from swfastedit_core import __version__
from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import S, ScoredCase, Scoring
from swfastedit_core.evaluate.table import scores_of
from swfastedit_core.metrics.scores import Scores
from swfastedit_core.system.atomic import replacing
from swfastedit_core.train.data.sources import Source
from swfastedit_core.train.data.survey import file_state

if TYPE_CHECKING:
    from swfastedit_core.engine.ensemble import Ensemble

FORMAT = 1  # of the files; increase it when the scores of a case change
FOLDER = "cases"  # in the folder of the results
ENDING = ".json"


@dataclass(frozen=True)
class Kind(Generic[S]):
    """Scores of one kind as values for JSON.

    Attributes
    ----------
    encode
        Returns the values.
    decode
        Returns the scores; raises KeyError, TypeError or ValueError if the values are others.
    """

    encode: Callable[[S], Any]
    decode: Callable[[Any], S]


def _encode(scores: Scores) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(scores).items()}


SCORES = Kind[Scores](_encode, scores_of)


class StoredResults(Generic[S]):
    """The results of cases in a folder, one file each.

    A result is used again only if the case's files, the weights, all options that change masks or scores, and the
    version of the program are the same. A damaged file counts as no result.

    Parameters
    ----------
    folder
        Folder of the files.
    networks
        The networks that segment, from `describe_networks`.
    options, scoring
        How the cases are segmented and scored.
    with_ct
        Whether a CT is read.
    kind
        Of the scores.
    """

    def __init__(
        self,
        folder: Path,
        *,
        networks: Mapping[str, Any],
        options: CaseOptions,
        scoring: Scoring,
        with_ct: bool,
        kind: Kind[S],
    ) -> None:
        self._folder, self._with_ct, self._kind = folder, with_ct, kind
        self._common = [FORMAT, __version__, dict(networks), asdict(options), asdict(scoring)]

    def key(self, source: Source, *more: Any) -> str:
        """Return the digest of everything that the result of a case depends on, with the files as they are now.

        Parameters
        ----------
        source
            The case.
        *more
            Values for JSON on which this case depends besides.
        """
        files = [file_state(path) for path in (source.pet, source.label, source.ct if self._with_ct else None)]
        reading = [source.phantom_seed, source.lesion_labels, source.label_grid, source.form]
        content = json.dumps([*self._common, reading, files, *more], sort_keys=True)
        return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()

    def read(self, name: str, key: str, mask: Path | None = None) -> ScoredCase[S] | None:
        """Return the result of a case; None if there is none, or it has another key.

        Parameters
        ----------
        name
            Of the case.
        key
            From `key`.
        mask
            File that has the mask; without it, or if it changed, the result does not hold. None: no mask is wanted.
        """
        written = self._content(name)
        if written.get("key") != key or (mask is not None and not _is_unchanged(mask, written.get("mask"))):
            return None
        try:
            return ScoredCase[S](
                case=name,
                scores=self._kind.decode(written["scores"]),
                remark=str(written["remark"]),
                seconds=float(written["seconds"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def exists(self, name: str) -> bool:
        """Whether there is a file of a case, whatever it holds."""
        return self._file(name).exists()

    def write(self, result: ScoredCase[S], key: str, mask: Path | None = None) -> None:
        """Store the result of a case under its key, which must be from before its files were read.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        assert result.scores is not None
        path = self._file(result.case)
        content = {
            "key": key,
            "case": result.case,
            "scores": self._kind.encode(result.scores),
            "remark": result.remark,
            "seconds": result.seconds,
            "mask": file_state(mask),
        }
        try:
            with replacing(path) as temporary:
                temporary.write_text(
                    json.dumps(content, indent=1, ensure_ascii=False) + "\n",
                    encoding="utf-8",
                    errors="backslashreplace",
                )
        except OSError as error:
            raise UserError(f"{path}: the result of the case cannot be written ({error.strerror})") from error

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}{ENDING}"

    def _content(self, name: str) -> dict[str, Any]:
        try:
            written = json.loads(self._file(name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return written if isinstance(written, dict) else {}


def _is_unchanged(mask: Path, state: object) -> bool:
    """Whether a mask is there, and as it was when its result was stored; an empty state: it was not written then."""
    return bool(state) and state == file_state(mask)


def describe_networks(networks: Ensemble) -> dict[str, Any]:
    """Return what masks depend on: digests of the weights, what is read beside them, library, number format, device.

    Raises
    ------
    UserError
        If a file of weights cannot be read.
    """
    return {
        "weights_sha256": sorted(_digest(Path(network.source)) for network in networks),
        "configurations": sorted(repr(network.config) for network in networks),
        "engine": networks[0].name,
        "precision": networks[0].precision,
        "device": networks.device.type,
    }


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
