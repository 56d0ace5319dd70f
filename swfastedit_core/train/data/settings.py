"""Settings of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.train.data.channels import ChannelNumbers
from swfastedit_core.train.data.layouts import LAYOUTS
from swfastedit_core.train.data.patients import parse_pattern
from swfastedit_core.train.data.splits import parse_fold
from swfastedit_core.train.setting import at_least, require_valid, required_setting, setting


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
    validate_on
        ``imagesTs``: in layout ``images``, imagesTs with labelsTs is the validation set.
    limit
        Maximum number of cases of each data set, in the training set and in the validation set.
    skip_bad
        If set, unusable cases are left out. Otherwise the run does not start.
    lesion_labels
        Label values that are lesions; empty: all above 0.
    pet_channel, ct_channel
        Numbers of nnU-Net's channels; None: by the names in dataset.json, else by content.
    patient
        Regular expression with one group that finds the patient in a case's name; None: as the layout says.
    geometry
        Which coordinates of a NIfTI file count, as `read_volume`.
    donor_data
        The data sets of `specs` whose lesions are transplanted.
    seed
        Seed of the phantoms.
    """

    specs: tuple[str, ...] = required_setting(
        "--data",
        f"data sets, each LAYOUT:DIR with LAYOUT one of {', '.join(LAYOUTS)} (docs/training.md; images: imagesTr and "
        "labelsTr in DIR), or phantom:N for N synthetic scans",
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
    validate_on: Literal["imagesTs"] | None = setting(
        None,
        "--validate-on",
        "the validation set is imagesTs with labelsTs, instead of --fold or --split; layout images",
    )
    limit: int | None = setting(
        None,
        "--limit",
        "for trials: use only the first N cases of each data set, by name, in the training set and in the validation "
        "set",
        metavar="N",
        default_text="all",
        check=at_least(1),
    )
    skip_bad: bool = setting(
        False, "--skip-bad", "leave out cases that cannot be used; without it the run refuses to start"
    )
    lesion_labels: tuple[int, ...] = setting(
        (), "--lesion-labels", "label values that are lesions", metavar="V", default_text="all above 0"
    )
    pet_channel: int | None = setting(
        None,
        "--pet-channel",
        "number of the PET in nnU-Net's file names: 1 for NAME_0001",
        metavar="N",
        default_text="by dataset.json, else by content",
        check=at_least(0),
    )
    ct_channel: int | None = setting(
        None,
        "--ct-channel",
        "number of the CT in nnU-Net's file names",
        metavar="N",
        default_text="by dataset.json, else by content",
        check=at_least(0),
    )
    patient: str | None = setting(
        None,
        "--patient",
        "regular expression that finds the patient in the name of each case: its only capture group, such as "
        "'(.+)_ses-.*'",
        metavar="REGEX",
        default_text="by the layout",
        parse=parse_pattern,
    )
    geometry: Form = setting(
        "auto",
        "--geometry",
        "coordinates of NIfTI files: auto takes the sform if there is one, and refuses a file whose qform contradicts "
        "it",
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

    def __post_init__(self) -> None:
        require_valid(self)
        ChannelNumbers(self.pet_channel, self.ct_channel)  # refuses equal ones

    @property
    def has_validation_set(self) -> bool:
        """Whether cases are held out."""
        return any(one is not None for one in (self.fold, self.split_file, self.validate_on))
