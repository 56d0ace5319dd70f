"""Correct and score the cases of data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.challenge.console import progress_bar
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.evaluate.case_loop import Outcome, Work, run_cases
from swfastedit_core.evaluate.clicks.curve import Curve
from swfastedit_core.evaluate.clicks.interaction import run_interaction
from swfastedit_core.evaluate.clicks.protocols import ClickProtocol
from swfastedit_core.evaluate.cohort import Scoring, warn
from swfastedit_core.evaluate.named_sources import NamedSource
from swfastedit_core.evaluate.stored_results import StoredResults
from swfastedit_core.files.write import write_mask
from swfastedit_core.interactive.session import Session
from swfastedit_core.train.data.sources import Scan


@dataclass(frozen=True, kw_only=True)
class Correcting:
    """How cases are corrected and scored, and what is written.

    Attributes
    ----------
    protocol
        Which clicks there are.
    options, scoring
        How they are segmented and scored.
    memory_mb
        Of a session.
    overwrite
        Whether a mask may replace a file that is not a mask of this program.
    quiet
        Print no progress.
    """

    protocol: ClickProtocol
    options: CaseOptions
    scoring: Scoring
    memory_mb: float
    overwrite: bool = False
    quiet: bool = False


def correct_cases(
    cases: Sequence[NamedSource],
    networks: Ensemble,
    how: Correcting,
    *,
    stored: StoredResults[Curve],
    say: Callable[[str], None],
) -> Outcome[Curve]:
    """Correct and score cases; see `run_cases`.

    Parameters
    ----------
    cases, networks, stored, say
        As for `run_cases`.
    how
        How they are corrected and scored.
    """
    numbers = {case.name: number for number, case in enumerate(cases)}

    def depends_on(case: NamedSource) -> list[object]:
        return [how.protocol.settings(), case.name, how.protocol.of_case(numbers[case.name])]

    work = Work(
        score=lambda case, scans: _correct(case, scans, numbers[case.name], networks, how),
        describe=describe_curve,
        depends_on=depends_on,
        keep=lambda curve: curve.failed_step is None,
        overwrite=how.overwrite,
        quiet=how.quiet,
    )
    return run_cases(cases, networks, work, stored=stored, say=say)


def describe_curve(curve: Curve) -> str:
    """Return the Dice from step to step in a few words."""
    first, last = (curve.steps[place].scores.dice for place in (0, -1))
    tumour, background = curve.clicks_until(len(curve.steps) - 1)
    dice = f"Dice {first:.3f} to {last:.3f}" if first == first else "Dice not defined"
    return f"{dice} with {tumour} tumour and {background} background clicks"


def _correct(case: NamedSource, scans: list[Scan], number: int, networks: Ensemble, how: Correcting) -> Curve:
    """Correct the scan of a list, which is emptied: its voxels are released when they are not needed any more."""
    scan = scans.pop()
    protocol, label = how.protocol, scan.label
    annotate = protocol.annotator(label.array_zyx, scan.pet.array_zyx, case=case.name, number=number)
    pets, cts = [scan.pet], [scan.ct]
    del scan

    def start() -> Session:
        return Session(
            networks,
            pets.pop(),
            ct=cts.pop(),
            full_grid=how.options.full_grid,
            overlap=how.options.overlap,
            majority=how.options.majority,
            min_lesion_ml=how.options.min_lesion_ml,
            memory_mb=how.memory_mb,
        )

    networks.wait()  # the time of step 0 is that of the scan
    with progress_bar(case.name, quiet=how.quiet, unit="step") as progress:
        curve, mask = run_interaction(
            start,
            annotate,
            label,
            protocol=protocol,
            drawn_by=protocol.of_case(number),
            rules=how.scoring.rules,
            progress=progress,
        )
    if (failed := curve.failed_step) is not None:
        count = sum(bool(step.failure) for step in curve.steps)
        steps = f"step {failed}" if count == 1 else f"{count} steps, the first of them step {failed},"
        warn(f"{steps} failed ({curve.steps[failed].failure}); failed steps score 0")
    if case.mask is not None:
        write_mask(mask, case.mask)  # last: the result is stored with the state of this file
    return curve
