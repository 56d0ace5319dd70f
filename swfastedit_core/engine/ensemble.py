"""Networks that segment a scan together, on one device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from swfastedit_core.checkpoint import find_checkpoints, read_checkpoint
from swfastedit_core.engine import Engine, make_engine, resolve_device
from swfastedit_core.errors import UserError
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.stopwatch import timed


class Ensemble:
    """One network or several, all on one device.

    It may mix networks that take PET only and networks that take PET and CT, also networks with and without clicks.

    Parameters
    ----------
    networks
        At least one.
    warnings
        What is assumed about the weights or left out of their files; each case's record repeats it.
    notices
        Files that were left out.

    Raises
    ------
    ValueError
        If there is no network, or they are on several devices.
    """

    def __init__(
        self, networks: Iterable[Engine], *, warnings: Iterable[str] = (), notices: Iterable[str] = ()
    ) -> None:
        self.networks: Sequence[Engine] = tuple(networks)
        self.warnings, self.notices = tuple(warnings), tuple(notices)
        if len({network.device for network in self.networks}) != 1:
            raise ValueError(f"{len(self.networks)} networks, expected at least one, all on one device")

    def __iter__(self) -> Iterator[Engine]:
        return iter(self.networks)

    def __len__(self) -> int:
        return len(self.networks)

    def __getitem__(self, number: int) -> Engine:
        return self.networks[number]

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return self.networks[0].device

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """The different preprocessings of the networks."""
        return tuple(dict.fromkeys(network.config.preprocessing for network in self.networks))

    @property
    def demonstration(self) -> bool:
        """Whether one of the networks is a demonstration."""
        return any(network.config.demonstration for network in self.networks)

    @property
    def ct_network(self) -> Engine | None:
        """The first network that takes a CT; None if none does."""
        return next((network for network in self.networks if network.config.channels.takes_ct), None)

    @property
    def takes_clicks(self) -> bool:
        """Whether one of the networks takes clicks."""
        return any(network.config.channels.takes_clicks for network in self.networks)

    def takes_ct(self, preprocessing: Preprocessing) -> bool:
        """Whether a network with this preprocessing takes a CT."""
        return any(n.config.channels.takes_ct for n in self.networks if n.config.preprocessing == preprocessing)

    @timed("compile")
    def wait(self) -> None:
        """Wait until all networks can run; `load_networks` started their preparation in the background."""
        for network in self.networks:
            network.wait()


def load_networks(
    *paths: str | Path,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    window_batch: int | None = None,
    interactive: bool = False,
) -> Ensemble:
    """Load weights and start to prepare the networks in the background.

    Parameters
    ----------
    *paths
        Checkpoint files (``.safetensors``, ``.pt``, ``.pth`` or ``.ckpt``), or folders of them.
    device
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
    precision
        ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    engine
        ``auto``, ``openvino`` or ``torch``, see `engine.make_engine`.
    window_batch
        Windows at a time; None leaves it to the engine.
    interactive
        Whether there may be clicks: of a folder with automatic and interactive networks, which kind is used.

    Returns
    -------
    Ensemble
        A network for each checkpoint.

    Raises
    ------
    UserError
        If weights, device, precision or engine cannot be used.
    """
    where = resolve_device(device)
    networks: list[Engine] = []
    remarks: dict[str, list[str]] = {}  # files by what is said about them
    found = find_checkpoints(paths, interactive=interactive)
    for path in found.files:
        checkpoint = read_checkpoint(path)
        for remark in checkpoint.notices:
            remarks.setdefault(remark, []).append(str(path))
        networks.append(make_engine(checkpoint, device=where, precision=precision, engine=engine, batch=window_batch))
    if not networks:
        raise UserError("no weights given, expected at least one checkpoint or folder of checkpoints")
    warnings = [f"{', '.join(files)}: {remark}" for remark, files in remarks.items()]
    return Ensemble(networks, warnings=warnings, notices=found.notices)
