"""Which crop comes when, made ahead of the network by processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from swfastedit_core.errors import UserError

ORDER, CROP = 0, 1  # streams of chance: which case, and what is done with it
AHEAD = 3  # batches that a process makes before they are asked for

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Order:
    """The case of every crop, from the first to the last: a plan that needs no memory of what was before.

    Attributes
    ----------
    groups
        Indices of the cases of each group of data.
    shares
        How often each group is drawn from, relative to the others. Empty: every case once an epoch, in an order
        of each epoch's own.
    seed
        Of the order.
    """

    groups: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...] = ()
    seed: int = 0

    @property
    def epoch(self) -> int:
        """Crops in an epoch: as many as there are cases."""
        return sum(map(len, self.groups))

    def case_of(self, item: int) -> int:
        """Return the index of the case that crop number `item` is taken from."""
        if self.shares:
            rng = np.random.default_rng((self.seed, ORDER, item))
            weights = np.array(self.shares) / sum(self.shares)
            group = self.groups[int(rng.choice(len(self.groups), p=weights))]
            return group[int(rng.integers(len(group)))]
        epoch, position = divmod(item, self.epoch)
        cases = [case for group in self.groups for case in group]
        return cases[int(np.random.default_rng((self.seed, ORDER, epoch)).permutation(len(cases))[position])]


@dataclass(frozen=True)
class Crops(Dataset[Batch]):
    """The crops of a run, numbered; the same number gives the same crop in every process and after every restart.

    Attributes
    ----------
    order
        Which case a crop is taken from.
    draw
        Makes a crop from the index of a case and a source of chance: network input float32 [C, X, Y, Z] and label
        uint8 [X, Y, Z].
    """

    order: Order
    draw: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]

    def __getitem__(self, item: int) -> Batch:
        image, label = self.draw(self.order.case_of(item), np.random.default_rng((self.order.seed, CROP, item)))
        return torch.from_numpy(image), torch.from_numpy(label[None])


def batches(
    crops: Crops, *, steps: range, batch: int, rank: int = 0, ranks: int = 1, processes: int = 0, pin: bool = False
) -> Generator[Batch]:
    """Yield one batch a step. Close it: processes that make crops end with it, and a program does not end before them.

    Parameters
    ----------
    crops
        All crops; step s consists of the numbers ``s * batch`` to ``(s + 1) * batch - 1``.
    steps
        Which steps to make.
    batch
        Crops of a step, over all ranks; a multiple of `ranks`.
    rank, ranks
        This process of a distributed run gets the `rank`-th share of each step.
    processes
        That make crops; 0 makes them here, when they are asked for.
    pin
        Put batches into page-locked memory, from which a GPU copies without waiting.

    Yields
    ------
    image : Tensor
        float32 [batch / ranks, C, X, Y, Z].
    label : Tensor
        uint8 [batch / ranks, 1, X, Y, Z].
    """
    share = batch // ranks
    items = [[step * batch + rank * share + i for i in range(share)] for step in steps]
    loader: DataLoader[Batch] = DataLoader(
        crops,
        batch_sampler=_Numbers(items),
        num_workers=processes,
        prefetch_factor=AHEAD if processes else None,
        # Spawned, not forked: a fork of a process in which torch has threads can hang.
        multiprocessing_context="spawn" if processes else None,
        worker_init_fn=_one_of_many,
        pin_memory=pin,
    )
    yield from _told_plainly(islice(iter(loader), len(items)))


def _told_plainly(found: Iterator[Batch]) -> Iterator[Batch]:
    """Pass batches on; of an error in another process keep its one line, which torch wraps in a traceback."""
    try:
        yield from found
    except UserError as error:
        line = str(error).strip().splitlines()[-1]
        raise UserError(line.partition("UserError: ")[2] or line) from error


@dataclass(frozen=True)
class _Numbers:
    """The batches' numbers, in the form of a torch sampler."""

    items: Sequence[list[int]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def _one_of_many(_: int) -> None:
    torch.set_num_threads(1)
    # Signals reach a whole group of processes. The run's own process answers, and ends these when it has saved.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
