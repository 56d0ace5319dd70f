"""The order of crops, and a loader whose processes make them in advance."""

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

ORDER, CROP = 0, 1  # random streams: for the choice of a case, and for its crop
PREFETCH = 3  # batches that a process makes in advance

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Order:
    """The case of every crop of a run. It depends on the number of the crop alone, so a run can be resumed anywhere.

    Attributes
    ----------
    groups
        Indices of the cases of each group of data.
    shares
        How often crops come from each group, relative to the others. Empty: every case once an epoch, in another
        order each epoch.
    seed
        Seed of the order.
    """

    groups: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...] = ()
    seed: int = 0

    @property
    def epoch(self) -> int:
        """Number of crops in an epoch: the number of cases."""
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
    """The crops of a run by number. A number gives the same crop in every process and after a restart.

    Attributes
    ----------
    order
        The case of each crop.
    make
        Makes a crop from the index of a case and a random generator: network input float32 [C, X, Y, Z] and label
        uint8 [X, Y, Z].
    """

    order: Order
    make: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]

    def __getitem__(self, item: int) -> Batch:
        image, label = self.make(self.order.case_of(item), np.random.default_rng((self.order.seed, CROP, item)))
        return torch.from_numpy(image), torch.from_numpy(label[None])


def batches(
    crops: Crops, *, steps: range, batch: int, rank: int = 0, ranks: int = 1, processes: int = 0, pin: bool = False
) -> Generator[Batch]:
    """Yield a batch for each step. Close the generator to end its processes: the program waits for them.

    Parameters
    ----------
    crops
        All crops; step s takes the numbers ``s * batch`` to ``(s + 1) * batch - 1``.
    steps
        Steps to yield.
    batch
        Crops of a step over all ranks; a multiple of `ranks`.
    rank, ranks
        This process of a distributed run gets the `rank`-th share of each step.
    processes
        Number of processes that make crops; with 0 they are made in this process.
    pin
        Put batches into page-locked memory, which a GPU copies asynchronously.

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
        prefetch_factor=PREFETCH if processes else None,
        # Spawned, not forked: a fork of a process with torch's threads can hang.
        multiprocessing_context="spawn" if processes else None,
        worker_init_fn=_start_worker,
        pin_memory=pin,
    )
    yield from _unwrap_worker_errors(islice(iter(loader), len(items)))


def _unwrap_worker_errors(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Pass batches on; turn an error of a worker, which torch wraps in a traceback, back into its one line."""
    try:
        yield from batches
    except UserError as error:
        line = str(error).strip().splitlines()[-1]
        raise UserError(line.partition("UserError: ")[2] or line) from error


@dataclass(frozen=True)
class _Numbers:
    """The numbers of the crops of each batch, as a torch sampler."""

    items: Sequence[list[int]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # A signal reaches the whole process group. The main process handles it, and ends the workers after it saved.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
