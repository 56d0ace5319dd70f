"""The sampler of cases, and a loader whose processes make crops in advance."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from swfastedit_core.errors import UserError
from swfastedit_core.system.stop_signals import stop_signals_blocked

CASE, CROP = 0, 1  # random streams: for the choice of a case, and for its crop
PREFETCH = 3  # batches that a process makes in advance

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class CaseSampler:
    """The case of each crop of a run. It depends only on the index of the crop, so a run can resume at any step.

    Attributes
    ----------
    groups
        Indices of the cases of each data set.
    shares
        Relative number of crops of each data set. Empty: every case once an epoch, in a new order each epoch.
    seed
        Seed of the sampler and of the crops.
    """

    groups: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...] = ()
    seed: int = 0

    @property
    def epoch_length(self) -> int:
        """Number of crops in an epoch: the number of cases."""
        return sum(map(len, self.groups))

    def case_index(self, crop: int) -> int:
        """Return the index of the case from which the crop with index `crop` is read."""
        if self.shares:
            rng = np.random.default_rng((self.seed, CASE, crop))
            weights = np.array(self.shares) / sum(self.shares)
            group = self.groups[int(rng.choice(len(self.groups), p=weights))]
            return group[int(rng.integers(len(group)))]
        epoch, position = divmod(crop, self.epoch_length)
        cases = [case for group in self.groups for case in group]
        return cases[int(np.random.default_rng((self.seed, CASE, epoch)).permutation(len(cases))[position])]


@dataclass(frozen=True)
class Crops(Dataset[Batch]):
    """Dataset of crops. An index gives the same crop in every process and after a restart.

    Attributes
    ----------
    sampler
        The case of each crop.
    make
        Makes a crop from the index of a case and a random generator: images float32 [C, X, Y, Z], label
        uint8 [X, Y, Z], clicks int64 [2, most, 3].
    """

    sampler: CaseSampler
    make: Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray, np.ndarray]]

    def __getitem__(self, index: int) -> Batch:
        image, label, clicks = self.make(
            self.sampler.case_index(index), np.random.default_rng((self.sampler.seed, CROP, index))
        )
        return torch.from_numpy(image), torch.from_numpy(label[None]), torch.from_numpy(clicks)


def batches(
    crops: Crops, *, steps: range, batch_size: int, rank: int = 0, ranks: int = 1, processes: int = 0, pin: bool = False
) -> Generator[Batch]:
    """Yield a batch for each step.

    Close the generator to stop its worker processes. Otherwise the program waits for them.

    Parameters
    ----------
    crops
        All crops; step s takes the indices ``s * batch_size`` to ``(s + 1) * batch_size - 1``.
    steps
        Steps to yield.
    batch_size
        Crops of a step over all ranks; a multiple of `ranks`.
    rank, ranks
        Rank of this process and number of processes; this process gets the crops of its rank in each step.
    processes
        Number of processes that make crops; 0 makes them in this process.
    pin
        Put batches into page-locked memory, which a GPU copies asynchronously.

    Yields
    ------
    image : Tensor
        float32 [batch_size / ranks, C, X, Y, Z].
    label : Tensor
        uint8 [batch_size / ranks, 1, X, Y, Z].
    clicks : Tensor
        int64 [batch_size / ranks, 2, most, 3].
    """
    crops_per_rank = batch_size // ranks
    first = rank * crops_per_rank
    indices = [[step * batch_size + first + i for i in range(crops_per_rank)] for step in steps]
    loader: DataLoader[Batch] = DataLoader(
        crops,
        batch_sampler=_BatchSampler(indices),
        num_workers=processes,
        prefetch_factor=PREFETCH if processes else None,
        # Spawned, not forked: a fork of a process with torch's threads can hang.
        multiprocessing_context="spawn" if processes else None,
        worker_init_fn=_start_worker,
        pin_memory=pin,
    )
    # A signal reaches the whole process group. This process handles it, and ends the workers after it saved. Until then
    # they go on.
    with stop_signals_blocked():
        made = iter(loader)  # starts all workers
    yield from _unwrap_worker_errors(islice(made, len(indices)))


def _unwrap_worker_errors(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Pass batches on. torch wraps an error of a worker in a traceback: raise it again with its own line only."""
    try:
        yield from batches
    except UserError as error:
        line = str(error).strip().splitlines()[-1]
        raise UserError(line.partition("UserError: ")[2] or line) from error


@dataclass(frozen=True)
class _BatchSampler:
    """The indices of the crops of each batch, as a torch sampler."""

    batches: Sequence[list[int]]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
