"""Settings of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from swfastedit_core.train.data.layouts import LAYOUTS
from swfastedit_core.train.data.splits import parse_fold
from swfastedit_core.train.setting import (
    required_setting,
    setting,
)


@dataclass(frozen=True)
class DataSettings:
    """The data sets of a run, and its validation set.

    Attributes
    ----------
    specs
        Data sets, each ``LAYOUT:PATH`` or ``phantom:N``.
    shares
        Relative number of crops of each data set; empty: every case once an epoch.
    fold
        (K, N): fold K of N is the validation set. None: no validation set.
    split_file
        JSON file with the training set and the validation set.
    skip_bad
        If set, unusable cases are left out. Otherwise the run does not start.
    lesion_labels
        Label values that are lesions; empty: all above 0.
    donor_data
        The data sets of `specs` whose lesions are transplanted.
    seed
        Seed of the phantoms.
    """

    specs: tuple[str, ...] = required_setting(
        "--data",
        f"data sets, each LAYOUT:DIR with LAYOUT one of {', '.join(LAYOUTS)}, or phantom:N for N synthetic scans",
        metavar="SPEC",
        names_files=True,
    )
    shares: tuple[float, ...] = setting(
        (),
        "--shares",
        "relative number of crops of each data set",
        metavar="X",
        default_text="every case once an epoch",
    )
    fold: tuple[int, int] | None = setting(
        None, "--fold", "hold out the patients of fold K (0 to N-1) of N", metavar="K/N", parse=parse_fold
    )
    split_file: Path | None = setting(
        None,
        "--split",
        "JSON file with the training set and the validation set, instead of --fold; with nnU-Net's splits_final.json, "
        "--fold chooses one of its folds",
        metavar="FILE",
        names_files=True,
    )
    skip_bad: bool = setting(
        False, "--skip-bad", "leave out cases that cannot be used; without it the run refuses to start"
    )
    lesion_labels: tuple[int, ...] = setting(
        (), "--lesion-labels", "label values that are lesions", metavar="V", default_text="all above 0"
    )
    donor_data: tuple[str, ...] = setting(
        (),
        "--donor-data",
        "data sets of --data whose lesions are transplanted",
        metavar="SPEC",
        default_text="all but phantoms",
        names_files=True,
    )
    seed: int = 0
