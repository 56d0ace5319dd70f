"""The settings of a network and of its preprocessing. The header of the weights stores them."""

from __future__ import annotations

from dataclasses import dataclass

from swfastedit_core.checkpoint import Channels, CheckpointConfig
from swfastedit_core.checkpoint.header import NETWORK_SPACING_MM
from swfastedit_core.click_encodings import ClickEncoding
from swfastedit_core.intensity import PercentileIntensity, RangeIntensity
from swfastedit_core.model import ARCHITECTURES, NetworkConfig
from swfastedit_core.preprocess import PUBLISHED_INTENSITY, Preprocessing
from swfastedit_core.train.setting import each_number, require_valid, setting, text_of

CHANNELS = {",".join(channels.names): channels for channels in (Channels.PET, Channels.PET_CT)}
PUBLISHED = CheckpointConfig(NetworkConfig())


@dataclass(frozen=True)
class Terms:
    """Licence and citation of the weights. The header of the weights stores them."""

    licence: str = setting("unknown", "--licence", "licence of the weights")
    attribution: str = setting("", "--attribution", "whom to cite for the training data")
    demonstration: bool = setting(
        False, "--demonstration", "mark the weights as a demonstration that is not meant for patients"
    )


@dataclass(frozen=True)
class NetworkSettings:
    """The network and its preprocessing. The header of the weights stores them."""

    network: str = setting(PUBLISHED.network.name, "--network", "architecture", choices=tuple(ARCHITECTURES))
    filters: tuple[int, ...] = setting(
        (), "--filters", "filters (feature maps) of each level", metavar="N", default_text="those of the architecture"
    )
    channels: str = setting(
        "pet", "--channels", "pet or pet,ct (no space after the comma)", metavar="CHANNELS", choices=tuple(CHANNELS)
    )
    window: tuple[int, int, int] = setting(
        PUBLISHED.window, "--window", "voxels of a window in inference, along x, y, z", metavar="N"
    )
    spacing_mm: tuple[float, float, float] = setting(
        PUBLISHED.preprocessing.spacing_mm,
        "--spacing",
        "spacing of the network's voxels along x, y, z",
        metavar="MM",
        check=each_number(
            lambda mm: NETWORK_SPACING_MM[0] <= mm <= NETWORK_SPACING_MM[1],
            f"numbers from {NETWORK_SPACING_MM[0]} to {text_of(NETWORK_SPACING_MM[1])}",
        ),
    )
    suv_range: tuple[float, float] | None = setting(
        None,
        "--suv-range",
        "SUV that are mapped to 0 and 1, instead of --percentiles",
        metavar=("LOW", "HIGH"),
        default_text="percentiles",
    )
    percentiles: tuple[float, float] = setting(
        (PUBLISHED_INTENSITY.lower, PUBLISHED_INTENSITY.upper),
        "--percentiles",
        "percentiles of each scan that are mapped to 0 and 1",
        metavar=("LOW", "HIGH"),
    )
    ct_hu: tuple[float, float] = setting(
        PUBLISHED.preprocessing.ct_hu,
        "--ct-range",
        "HU that are mapped to 0 and 1, for --channels pet,ct",
        metavar=("LOW", "HIGH"),
    )

    def __post_init__(self) -> None:
        require_valid(self)

    @property
    def takes_ct(self) -> bool:
        """Whether the CT is a channel."""
        return CHANNELS[self.channels].takes_ct

    def preprocessing(self) -> Preprocessing:
        """Return the preprocessing of the network."""
        intensity: PercentileIntensity | RangeIntensity
        intensity = RangeIntensity(*self.suv_range) if self.suv_range else PercentileIntensity(*self.percentiles)
        return Preprocessing(self.spacing_mm, intensity, self.ct_hu)

    def config(self, terms: Terms, clicks: ClickEncoding | None = None) -> CheckpointConfig:
        """Return the header of the weights, without their provenance.

        Parameters
        ----------
        terms
            Licence and citation.
        clicks
            For a network that takes clicks, how they are painted.

        Raises
        ------
        UserError
            If the filters do not fit the network, or the window does not.
        """
        images = CHANNELS[self.channels]
        channels = images if clicks is None else images.with_clicks
        return CheckpointConfig(
            network=NetworkConfig(self.network, self.filters, in_channels=channels.count),
            preprocessing=self.preprocessing(),
            window=self.window,
            channels=channels,
            clicks=clicks,
            licence=terms.licence,
            attribution=terms.attribution,
            demonstration=terms.demonstration,
        )
