"""Which of nnU-Net's channels is the PET and which is the CT: by option, by name or by content."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.files.nifti_forms import Form
from swfastedit_core.files.plausibility import AIR_BELOW_HU, HIGHEST_HU
from swfastedit_core.files.read import read_ct
from swfastedit_core.train.data.folders import stem_of

CHANNEL = re.compile(r"(.+)_(\d{4})")  # nnU-Net's file names
PET_WORDS, CT_WORDS = {"pet", "pt", "suv"}, {"ct"}
LOWEST_HU = -3100.0  # scanners write values down to -3,024 outside of the field; a PET in Bq/ml may have lower ones
MAX_READ = 3  # cases whose content is read to tell PET from CT

Channels = dict[int, dict[str, Path]]  # number of the channel -> case -> file


@dataclass(frozen=True)
class ChannelNumbers:
    """The numbers of the PET's and the CT's channel in nnU-Net's file names; None: not known."""

    pet: int | None = None
    ct: int | None = None

    def __post_init__(self) -> None:
        if self.pet is not None and self.pet == self.ct:
            raise UserError(f"--pet-channel and --ct-channel are both {self.pet}, expected two channels")


def split_channels(scans: dict[str, Path], labels: dict[str, Path]) -> tuple[dict[str, Path], Channels]:
    """Split scans into whole files and channels.

    NAME_0000 is a channel of NAME if there are labels named NAME. Without such labels, NAME_0000 is the name of a case,
    for example ``phantom_0_0000``.

    Returns
    -------
    whole : dict
        Scans that are no channel, by case.
    channels : dict
        The channels, by number and case; empty if there are none.
    """
    parts = {name: CHANNEL.fullmatch(name) for name in scans if name not in labels}
    if not any(part and part[1] in labels for part in parts.values()):
        return scans, {}
    channels: Channels = {}
    for name, part in parts.items():
        if part:
            channels.setdefault(int(part[2]), {})[part[1]] = scans[name]
    return {name: path for name, path in scans.items() if not parts.get(name)}, channels


def choose_channels(
    channels: Channels, asked: ChannelNumbers, description: Path, *, form: Form, remark: Callable[[str], None]
) -> ChannelNumbers:
    """Return the numbers of PET and CT: as asked, else by the names in dataset.json, else by content.

    Parameters
    ----------
    channels
        All channels, at least one.
    asked
        Numbers that the user gave.
    description
        dataset.json. nnU-Net's own file for autoPET names both channels CT.
    form
        As `read_volume`, if files are read for their content.
    remark
        Called with a sentence if content decided.

    Raises
    ------
    UserError
        If a number that was asked for does not exist, or nothing tells which channel is the PET.
    """
    for flag, number in (("--pet-channel", asked.pet), ("--ct-channel", asked.ct)):
        if number is not None and number not in channels:
            found = ", ".join(map(str, sorted(channels)))
            raise UserError(f"{flag} {number}: no scan has that channel; found in {description.parent}: {found}")
    left = [number for number in channels if number != asked.ct]
    if asked.pet is None and len(left) == 1:
        asked = ChannelNumbers(left[0], asked.ct)
    if asked.pet is not None and (asked.ct is not None or len(channels) == 1):
        return asked
    names = _channel_names(description)
    named = _by_name({number: name for number, name in names.items() if number in channels}, asked)
    chosen = named or _by_content(channels, asked, form)
    listed = ", ".join(f"{number}: {name}" for number, name in names.items()) or "none"
    if chosen is None:
        raise UserError(
            f"{description}: the scans have several channels and their names are {listed}; their content does not tell "
            "PET from CT either (a CT has voxels near -1,000 HU); give --pet-channel N, and --ct-channel N for the CT"
        )
    if named is None and chosen != asked:
        remark(
            f"{description}: names of the channels are {listed}; by their content, channel {chosen.pet} is the PET and "
            f"channel {chosen.ct} is the CT; --pet-channel and --ct-channel set them"
        )
    return chosen


def looks_like_ct(low: float, high: float) -> bool:
    """Whether these are lowest and highest value of a CT: air has about -1,000 HU, and a SUV is not negative."""
    return LOWEST_HU <= low < AIR_BELOW_HU and high < HIGHEST_HU


def describe_swap(pet: Path, ct: Path | None, low: float) -> str:
    """Say that the file of the PET is a CT, and what to do."""
    parts = [CHANNEL.fullmatch(stem_of(path)) for path in (pet, ct) if path]
    advice = ""
    if len(parts) == 2 and parts[0] and parts[1] and parts[0][1] == parts[1][1]:
        advice = (
            "; if the names of the channels are swapped, give "
            f"--pet-channel {int(parts[1][2])} --ct-channel {int(parts[0][2])}"
        )
    return f"{pet}: minimum {low:,.0f} looks like a CT in HU, expected a PET in SUV{advice}"


def _by_name(names: dict[int, str], asked: ChannelNumbers) -> ChannelNumbers | None:
    """Choose by option, and by name where there is none; None if that does not determine the PET."""
    words = {number: set(re.split("[^a-z]+", name.lower())) for number, name in names.items() if number != asked.ct}
    pets = [number for number, found in words.items() if found & PET_WORDS and not found & CT_WORDS]
    if asked.pet is not None:
        pets = [asked.pet]
    cts = [n for n, found in words.items() if n not in pets and found & CT_WORDS and not found & PET_WORDS]
    if asked.ct is not None:
        cts = [asked.ct]
    if len(pets) != 1 or len(cts) > 1 or (asked.pet is not None and not cts):
        return None
    return ChannelNumbers(pets[0], cts[0] if cts else None)


def _by_content(channels: Channels, asked: ChannelNumbers, form: Form) -> ChannelNumbers | None:
    """Choose by the minimum of each channel in the first cases; None if no case has one PET and one CT."""
    numbers = [number for number in sorted(channels) if number not in (asked.pet, asked.ct)]
    cases = sorted(set.intersection(*(set(channels[number]) for number in numbers))) if numbers else []
    for case in cases[:MAX_READ]:
        like_ct = {number: _is_ct(channels[number][case], form) for number in numbers}
        pets = [number for number, is_ct in like_ct.items() if is_ct is False] if asked.pet is None else [asked.pet]
        cts = [number for number, is_ct in like_ct.items() if is_ct] if asked.ct is None else [asked.ct]
        if len(pets) == len(cts) == 1:
            return ChannelNumbers(pets[0], cts[0])
    return asked if asked.pet is not None else None


def _is_ct(path: Path, form: Form) -> bool | None:
    """Whether the content is a CT; None where it cannot be read, which the survey reports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            array = read_ct(path, form=form).array_zyx
            return looks_like_ct(float(array.min()), float(array.max()))
        except UserError:
            return None


def _channel_names(description: Path) -> dict[int, str]:
    """Read ``channel_names`` (nnU-Net) or ``modality`` (MSD); empty where the file is missing or has none."""
    try:
        content: Any = json.loads(description.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{description}: is not valid JSON ({error})") from error
    listed = content.get("channel_names", content.get("modality")) if isinstance(content, dict) else None
    if not isinstance(listed, dict):
        return {}
    return {int(number): str(name) for number, name in listed.items() if number.isdecimal()}
