"""The input channels of networks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from swfastedit_core.errors import UserError


class Channels(Enum):
    """The input channels of a network, by their names in a checkpoint's header and in their order.

    Images come first, the PET before the CT. Guidance channels, which are computed from clicks, come last.
    """

    PET = ("pet",)
    PET_CT = ("pet", "ct")
    PET_CLICKS = ("pet", "tumour guidance", "background guidance")
    PET_CT_CLICKS = ("pet", "ct", "tumour guidance", "background guidance")

    @classmethod
    def named(cls, names: Sequence[str]) -> Channels:
        """Return the channels of these names.

        Raises
        ------
        UserError
            If no network of this program has them.
        """
        try:
            return cls(tuple(names))
        except ValueError as error:
            known = ", ".join(str(channels.value) for channels in cls)
            raise UserError(f"channels {tuple(names)}, expected one of {known}") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each channel."""
        names: tuple[str, ...] = self.value
        return names

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self.names)

    @property
    def takes_ct(self) -> bool:
        """Whether a CT is needed in addition to the PET."""
        return "ct" in self.names

    @property
    def takes_clicks(self) -> bool:
        """Whether there are guidance channels."""
        return self.image_channels < self.count

    @property
    def image_channels(self) -> int:
        """Number of channels that come from images: 1 for the PET, 2 with a CT."""
        return 1 + self.takes_ct

    @property
    def images(self) -> Channels:
        """The same channels without guidance."""
        return Channels.named(self.names[: self.image_channels])

    @property
    def with_clicks(self) -> Channels:
        """The same channels with guidance."""
        return Channels.PET_CT_CLICKS if self.takes_ct else Channels.PET_CLICKS
