"""Protocols: which clicks a simulated annotator gives at each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.evaluate.clicks.deepest import deepest_click
from swfastedit_core.interactive.simulate.autopet4 import BUDGET, SEED, autopet4_clicks
from swfastedit_core.interactive.simulate.autopet5 import STEPS, draw_scribble
from swfastedit_core.interactive.simulate.draw import Draw
from swfastedit_core.interactive.simulate.scribbles import SCRIBBLES
from swfastedit_core.interactive.simulate.strategies import STRATEGIES

# Given the mask of the step before, uint8 [Z, Y, X], it returns the new clicks of the next step, or none.
Annotator = Callable[[np.ndarray], tuple[Click, ...]]
Placing = Literal["deepest"] | Draw


class ClickProtocol(Protocol):
    """How clicks are given; a frozen dataclass.

    Attributes
    ----------
    name
        As the command line names it.
    last_step
        Steps are numbered from 0, which has no clicks.
    failed_step_scores_zero
        Whether a case goes on with scores of 0 if a step fails; otherwise such a case has no scores.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def last_step(self) -> int: ...  # noqa: D102
    @property
    def failed_step_scores_zero(self) -> bool: ...  # noqa: D102

    def settings(self) -> dict[str, Any]:
        """Return what defines the protocol, as values for JSON."""
        ...

    def of_case(self, number: int) -> str:
        """Return what differs from case to case, given the number of the case in the data sets."""
        ...

    def annotator(self, label_zyx: np.ndarray, suv_zyx: np.ndarray, *, case: str, number: int) -> Annotator:
        """Return the annotator of a case, given label, PET, and the name and number of the case in the data sets."""
        ...


@dataclass(frozen=True)
class AutoPet4:
    """autoPET IV: fixed clicks; step i of 0 to 10 has i clicks of each kind."""

    name = "autopet4"
    last_step = BUDGET
    failed_step_scores_zero = False

    def settings(self) -> dict[str, Any]:
        """See `ClickProtocol`."""
        return {"protocol": self.name, "steps": self.last_step, "seed": SEED}

    def of_case(self, number: int) -> str:
        """See `ClickProtocol`."""
        return ""

    def annotator(self, label_zyx: np.ndarray, suv_zyx: np.ndarray, *, case: str, number: int) -> Annotator:
        """See `ClickProtocol`."""
        simulated = autopet4_clicks(label_zyx, suv_zyx, np.random.default_rng(SEED), budget=self.last_step)
        step = iter(range(self.last_step))

        def annotate(_: np.ndarray) -> tuple[Click, ...]:
            i = next(step)
            return (
                *_clicks(ClickKind.TUMOUR, simulated.tumour[i : i + 1]),
                *_clicks(ClickKind.BACKGROUND, simulated.background[i : i + 1]),
            )

        return annotate


@dataclass(frozen=True)
class AutoPet5:
    """autoPET V: one scribble a step on the largest error, 6 steps; each strategy draws in a third of the cases."""

    name = "autopet5"
    last_step = STEPS - 1
    failed_step_scores_zero = True

    def settings(self) -> dict[str, Any]:
        """See `ClickProtocol`."""
        return {"protocol": self.name, "steps": self.last_step, "scribbles": list(SCRIBBLES), "seed": SEED}

    def of_case(self, number: int) -> str:
        """Return the strategy of the scribbles."""
        return list(SCRIBBLES)[number % len(SCRIBBLES)]

    def annotator(self, label_zyx: np.ndarray, suv_zyx: np.ndarray, *, case: str, number: int) -> Annotator:
        """See `ClickProtocol`. An empty label gets no scribbles, as in the challenge."""
        rng, strategy = np.random.default_rng(SEED), self.of_case(number)
        is_empty = not label_zyx.any()

        def annotate(prediction_zyx: np.ndarray) -> tuple[Click, ...]:
            scribble = None if is_empty else draw_scribble(label_zyx, prediction_zyx, rng, strategy=strategy)
            return () if scribble is None else _clicks(scribble.kind, scribble.voxels_zyx)

        return annotate


@dataclass(frozen=True, kw_only=True)
class Corrective:
    """Clicks in the errors of the prediction, until it is right or there were enough rounds.

    Attributes
    ----------
    last_step
        Number of rounds.
    placing
        ``deepest``: one click a round, the deepest voxel of the errors. ``uniform``, ``distance``: at most one click of
        each kind a round; see `draw_voxel`.
    strategy
        A key of `STRATEGIES`; only ``corrective`` for ``deepest``.
    """

    last_step: int
    placing: Placing = "deepest"
    strategy: str = "corrective"
    name = "corrective"
    failed_step_scores_zero = False

    def settings(self) -> dict[str, Any]:
        """See `ClickProtocol`."""
        settings = {"protocol": self.name, "steps": self.last_step, "draw": self.placing, "strategy": self.strategy}
        return settings if self.placing == "deepest" else {**settings, "seed": SEED}

    def of_case(self, number: int) -> str:
        """See `ClickProtocol`."""
        return ""

    def annotator(self, label_zyx: np.ndarray, suv_zyx: np.ndarray, *, case: str, number: int) -> Annotator:
        """See `ClickProtocol`. Random clicks depend on the name of the case, not on its number."""
        if self.placing == "deepest":
            return _deepest_annotator(label_zyx)
        rng, strategy, draw = np.random.default_rng([SEED, *case.encode(errors="surrogateescape")]), *self._random()
        is_tumour = label_zyx != 0

        def annotate(prediction_zyx: np.ndarray) -> tuple[Click, ...]:
            if np.array_equal(is_tumour, prediction_zyx != 0):
                return ()
            new = strategy(label_zyx, prediction_zyx, rng, draw=draw)
            pairs = ((ClickKind.TUMOUR, new.tumour), (ClickKind.BACKGROUND, new.background))
            return tuple(click for kind, voxel in pairs if voxel is not None for click in _clicks(kind, [voxel]))

        return annotate

    def _random(self) -> tuple[Any, Draw]:
        assert self.placing != "deepest"
        return STRATEGIES[self.strategy], self.placing


def _deepest_annotator(label_zyx: np.ndarray) -> Annotator:
    clicked: list[tuple[int, int, int]] = []

    def annotate(prediction_zyx: np.ndarray) -> tuple[Click, ...]:
        found = deepest_click(label_zyx, prediction_zyx, np.array(clicked, np.int64).reshape(-1, 3))
        if found is None:
            return ()
        kind, voxel = found
        clicked.append(voxel)
        return _clicks(kind, [voxel])

    return annotate


def _clicks(kind: ClickKind, voxels_zyx: Iterable[Any]) -> tuple[Click, ...]:
    """Turn indices z, y, x of arrays into clicks, whose positions are x, y, z of the file."""
    return tuple(Click(kind, (int(x), int(y), int(z))) for z, y, x in voxels_zyx)
