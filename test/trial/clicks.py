"""The rows of clicks: a random interactive network as the uploaded model, and click files of every kind."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from trial.cases import Case
from trial.image import Check
from trial.table import Row, Trial

NAME = "clicks"  # of these rows, for --only
# On a GPU, the batch would be chosen by time. With less overlap, a case takes a second.
OPTIONS = ("--task", "autopet4", "--window-batch", "1", "--overlap", "0.25")
SPACING_MM = 8.0  # of the network
STEPS = 10  # of autoPET IV: step i has i tumour and i background clicks
RUN_ALONE = (0, 5, 10)  # steps that exec runs, too
SCRIBBLE = 60  # points, as in autoPET V
BODY_SUV = 0.3


@dataclass(frozen=True)
class ClickCase:
    """A scan with a click file.

    Attributes
    ----------
    name
        For the table.
    content
        Of the file.
    valid
        Whether the image has to write a mask.
    numbers
        Numbers of clicks by kind that the record has to tell; None for a file without clicks.
    """

    name: str
    content: str
    valid: bool = True
    numbers: Mapping[str, int] | None = None

    def as_case(self, shipped: Path) -> Case:
        """Return the case with the scan of a folder."""

        def write(folder: Path) -> Path:
            shutil.copytree(shipped, folder, dirs_exist_ok=True)
            (folder / "lesion-clicks.json").write_text(self.content)
            return next((folder / "images/pet").glob("*.mha"))

        return Case(f"{NAME}, {self.name}", write, self.valid)


def click_cases(scan_file: Path) -> tuple[list[ClickCase], list[ClickCase]]:
    """Return the steps of a challenge, and the other cases: a scribble, a click outside, a file that is not JSON."""
    scan = sitk.ReadImage(str(scan_file))
    body_zyx = np.argwhere(sitk.GetArrayFromImage(scan) > BODY_SUV)
    drawn = np.random.default_rng(4).choice(body_zyx, 2 * STEPS + 1, replace=False)[:, ::-1].tolist()
    tumour, background, start = drawn[:STEPS], drawn[STEPS : 2 * STEPS], drawn[-1]
    steps = [_case(f"{step} + {step}", tumour[:step], background[:step]) for step in range(STEPS + 1)]
    columns = scan.GetSize()[0]
    scribble = [[(start[0] + step) % columns, *start[1:]] for step in range(SCRIBBLE)]
    outside = replace(_case("outside the scan", [[columns, 0, 0]], []), valid=False)
    others = [_case("a scribble", scribble, background[:1]), outside, ClickCase("no JSON", "{", valid=False)]
    return steps, others


def _case(name: str, tumour: Sequence[object], background: Sequence[object]) -> ClickCase:
    points = [{"point": point, "name": "tumor"} for point in tumour]
    points += [{"point": point, "name": "background"} for point in background]
    content = {"version": {"major": 1, "minor": 0}, "type": "Multiple points", "points": points}
    numbers = {"tumor": len(tumour), "background": len(background)}
    return ClickCase(name, json.dumps(content), numbers=numbers)


def click_rows(trial: Trial, methods: Sequence[str], *, shipped: Path) -> Iterator[Row]:
    """Run the cases with these API methods.

    With `exec`, each runs in a container of its own. With `invoke`, one server is called for all steps in a row, for
    the other cases, and for the last step again; its masks have to equal those of `exec`.

    Parameters
    ----------
    trial
        Engine, image and limits.
    methods
        As `Trial.rows`.
    shipped
        Folder with one scan in ``images/pet``.
    """
    (scan_file,) = sorted((shipped / "images/pet").glob("*.mha"))
    steps, others = click_cases(scan_file)
    masks: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="trial.") as folder:
        model = _write_model(Path(folder))
        if "exec" in methods:
            for one in [*(steps[step] for step in RUN_ALONE), *others]:
                row = trial.exec_row(one.as_case(shipped), extra=OPTIONS, model=model)
                if row.mask is not None:
                    masks[one.name] = row.mask
                yield replace(row, checks=[*row.checks, *_check_numbers(row, one)])
            if masks:
                yield Row("exec: clicks change the mask", [_check_change([masks.get(one.name) for one in steps])])
        if "invoke" in methods:
            calls = [*steps, *others, steps[-1]]
            by_name = {f"invoke: {NAME}, {one.name}": one for one in calls}
            for row in trial.call_rows([one.as_case(shipped) for one in calls], extra=OPTIONS, model=model):
                called = by_name.get(row.name)  # None for the rows of start and end
                more = [] if called is None else _check_call(row, called, masks)
                yield replace(row, checks=[*row.checks, *more])


def _check_numbers(row: Row, case: ClickCase) -> list[Check]:
    if not case.valid:
        return []
    found = (row.record or {}).get("clicks")
    return [Check("numbers of clicks", found == case.numbers, f"{found}, expected {case.numbers}")]


def _check_call(row: Row, case: ClickCase, masks: Mapping[str, bytes]) -> list[Check]:
    alone = [Check("mask equals exec's", row.mask == masks[case.name])] if case.name in masks else []
    return [*_check_numbers(row, case), *alone]


def _check_change(masks: Sequence[bytes | None]) -> Check:
    found = {mask for mask in masks if mask is not None}
    return Check("different masks", len(found) == len(RUN_ALONE), f"{len(found)}, expected {len(RUN_ALONE)}")


def _write_model(folder: Path) -> Path:
    """Write a tarball with a random interactive network."""
    from interactive_networks import write_interactive_network  # imports torch

    weights = write_interactive_network(folder / "interactive.safetensors", spacing_mm=SPACING_MM)
    weights.chmod(0o644)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(weights, weights.name)
    return folder / "model.tar.gz"
