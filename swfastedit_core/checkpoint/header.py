"""The description of a checkpoint, and its JSON in the file's header."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

from swfastedit_core.checkpoint.channels import Channels
from swfastedit_core.checkpoint.encodings import encoding_from_json, encoding_to_json, name_of_encoding
from swfastedit_core.click_encodings import ClickEncoding, DiscEncoding
from swfastedit_core.errors import UserError
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing

HEADER_KEY = "swfastedit"
FORMAT = 1
MAX_SIZE = 2**16  # channels of a level, or voxels of a window's side: larger sizes overflow in torch
MAX_WINDOW_VOXELS = 2**28  # 1 GiB as float32, network not included
NETWORK_SPACING_MM = (0.1, 100.0)  # lowest and highest size of a PET voxel
INTENSITIES = {"percentiles": PercentileIntensity, "range": RangeIntensity}
AUTHORS_CHANNELS = {channels.count: channels for channels in (Channels.PET, Channels.PET_CLICKS)}


@dataclass(frozen=True)
class CheckpointConfig:
    """Everything about trained weights that is not a tensor.

    Attributes
    ----------
    network
        Topology and filters.
    preprocessing
        Spacing and intensity that the network was trained with.
    window
        Sides of a window, x, y, z, in voxels at that spacing.
    channels
        The input channels.
    clicks
        How clicks are painted, for channels with guidance; otherwise None.
    labels
        Name of each class.
    training
        Provenance: command, seed, data, versions, validation.
    licence, attribution
        Licence of the weights, and citation for the weights and their training data.
    demonstration
        Whether the weights only demonstrate the program and are not meant for patients.
    """

    network: NetworkConfig
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    window: tuple[int, int, int] = (128, 128, 128)
    channels: Channels = Channels.PET
    clicks: ClickEncoding | None = None
    labels: tuple[str, ...] = ("background", "tumour")
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = "unknown"
    attribution: str = ""
    demonstration: bool = False

    def __post_init__(self) -> None:
        if self.channels.count != self.network.in_channels or len(self.labels) != self.network.out_channels:
            raise UserError(
                f"channels {self.channels.names} and labels {self.labels} do not fit a network of "
                f"{self.network.in_channels} channel(s) and {self.network.out_channels} classes"
            )
        if self.channels.takes_clicks != (self.clicks is not None):
            wanted = "expected how clicks are painted" if self.channels.takes_clicks else "expected no clicks"
            raise UserError(f"channels {self.channels.names} with clicks {self.clicks}, {wanted}")
        if len(self.labels) != 2:
            raise UserError(f"{len(self.labels)} classes {self.labels}, expected two: background and tumour")
        if not self.network.accepts(self.window):
            raise UserError(
                f"window {self.window}, expected multiples of {self.network.divisor_xyz} for '{self.network.name}', "
                "one of them twice that at least"
            )
        if math.prod(self.window) > MAX_WINDOW_VOXELS:
            raise UserError(f"window {self.window}, expected {MAX_WINDOW_VOXELS:,} voxels at most")
        low, high = NETWORK_SPACING_MM
        if not all(low <= mm <= high for mm in self.preprocessing.spacing_mm):
            raise UserError(f"spacing {self.preprocessing.spacing_mm} mm, expected numbers from {low} to {high}")
        _check_intensity(self.preprocessing)

    @classmethod
    def of_the_recipe(cls, network: NetworkConfig) -> CheckpointConfig:
        """Return the configuration of the published recipe, for weights without a description."""
        if network.in_channels not in AUTHORS_CHANNELS:
            raise UserError(
                f"{network.in_channels} input channels, expected 1 (PET) or 3 (PET, tumour guidance, background "
                "guidance); shapes do not tell which channel is a CT and how HU are scaled, so with a CT this program "
                "reads only its own .safetensors files"
            )
        channels = AUTHORS_CHANNELS[network.in_channels]
        return cls(network, channels=channels, clicks=DiscEncoding() if channels.takes_clicks else None)


def describe_input(config: CheckpointConfig) -> dict[str, str]:
    """Describe what the network is given, for the user, by the options of ``checkpoint convert``."""
    intensity = config.preprocessing.intensity
    low, high = astuple(intensity)
    percentiles = isinstance(intensity, PercentileIntensity)
    mapped = f"percentiles {low:g} and {high:g} of the image" if percentiles else f"SUV {low:g} to {high:g}"
    described = {
        "--spacing": f"spacing {' × '.join(f'{mm:.4g}' for mm in config.preprocessing.spacing_mm)} mm",
        "--percentiles or --suv-range": mapped,
        "--window": f"window {' × '.join(map(str, config.window))} voxels",
    }
    if config.clicks is not None:
        ((name, size),) = asdict(config.clicks).items()
        described["--clicks"] = f"clicks as {name_of_encoding(config.clicks)} of {name} {size:g} voxels"
    return described


def to_header(config: CheckpointConfig) -> str:
    """Return the configuration as JSON."""
    plain = asdict(config)
    intensity = config.preprocessing.intensity
    kind = next(name for name, cls in INTENSITIES.items() if isinstance(intensity, cls))
    plain["preprocessing"]["intensity"] = {"kind": kind, **asdict(intensity)}
    plain["channels"] = config.channels.names
    if config.clicks is None:
        del plain["clicks"]
    else:
        plain["clicks"] = encoding_to_json(config.clicks)
    if not config.channels.takes_ct:
        del plain["preprocessing"]["ct_hu"]
    plain["training"] = _in_json(plain["training"])
    return json.dumps({"format": FORMAT, **plain}, allow_nan=False)


def _in_json(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {name: _in_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_header(text: str, source: str) -> CheckpointConfig:
    """Read the configuration from JSON.

    Parameters
    ----------
    text
        Output of `to_header`.
    source
        The file's name, for messages.

    Raises
    ------
    UserError
        If the text is not such a description, or has a newer format.
    """
    try:
        plain = json.loads(text)
        if plain["format"] != FORMAT:
            raise UserError(
                f"{source}: weights of format {plain['format']!r}, this version reads {FORMAT}; update the program"
            )
        del plain["format"]
        network = dict(plain["network"])
        network["filters"] = _list_of(int, network["filters"])
        _list_of(int, [network["in_channels"], network["out_channels"]])
        for key, kind in (("training", dict), ("licence", str), ("attribution", str), ("demonstration", bool)):
            if key in plain and type(plain[key]) is not kind:
                raise TypeError(f"{key} {plain[key]!r}, expected {kind.__name__}")
        lists = {key: _list_of(kind, plain[key]) for key, kind in (("window", int), ("channels", str), ("labels", str))}
        channels = Channels.named(lists.pop("channels"))
        read = {
            "network": NetworkConfig(**network),
            "preprocessing": _preprocessing(plain["preprocessing"], with_ct=channels.takes_ct),
            "channels": channels,
            "clicks": encoding_from_json(plain["clicks"]) if channels.takes_clicks else plain.get("clicks"),
        }
        return CheckpointConfig(**{**plain, **lists, **read})
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(source) else f"{source}: {error}") from error
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{source}: the header is not a checkpoint's configuration ({type(error).__name__}: {error})"
        ) from error


def _preprocessing(plain: dict[str, Any], *, with_ct: bool) -> Preprocessing:
    x, y, z = _numbers(plain["spacing_mm"], 3)
    intensity = dict(plain["intensity"])
    kind = INTENSITIES[intensity.pop("kind")]
    preprocessing = Preprocessing((x, y, z), kind(**{key: float(value) for key, value in intensity.items()}))
    if not with_ct:
        return preprocessing
    low, high = _numbers(plain["ct_hu"], 2)
    return replace(preprocessing, ct_hu=(low, high))


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values) or len(values) != count:
        raise TypeError(f"{values!r}, expected a list of {'two' if count == 2 else 'three'} numbers")
    return tuple(float(value) for value in values)


def _list_of(kind: type, values: Any) -> tuple[Any, ...]:
    """Check that a value is a JSON list of one type; for whole numbers, that each is at most `MAX_SIZE`."""
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise TypeError(f"{values!r}, expected a list of {kind.__name__}")
    if kind is int and max(values, default=0) > MAX_SIZE:
        raise ValueError(f"{values}, expected numbers up to {MAX_SIZE}")
    return tuple(values)


def _check_intensity(preprocessing: Preprocessing) -> None:
    intensity = preprocessing.intensity
    for name, (low, high) in (("intensity", astuple(intensity)), ("CT's HU", preprocessing.ct_hu)):
        if not -math.inf < low < high < math.inf:
            raise UserError(f"{name} from {low} to {high}, expected a lower and a higher number")
    if isinstance(intensity, PercentileIntensity) and not 0 <= intensity.lower < intensity.upper <= 100:
        raise UserError(f"percentiles {intensity.lower} and {intensity.upper}, expected numbers from 0 to 100")
