"""A map over items in separate processes: a crash costs only its own item."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import SimpleITK as sitk
import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_isolated(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Apply `work` to every item in separate processes; yield index and result as they come.

    Parameters
    ----------
    work
        Can be pickled: a function of a module, perhaps with plain values bound to it.
    items
        Plain values.
    workers
        Number of processes. Each works on one item at a time, with one thread.

    Yields
    ------
    index : int
        Of the item.
    result
        What `work` returned; None where its process was killed, by a crash or for lack of memory.
    """
    processes: list[_Process[Item, Result]] = [_Process(work) for _ in range(min(workers, len(items)))]
    if not processes:
        return
    idle: SimpleQueue[_Process[Item, Result]] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def do(item: Item) -> Result | None:
        process = idle.get()
        try:
            return process.do(item)
        finally:
            idle.put(process)

    threads = ThreadPoolExecutor(len(processes))  # one for each process, so that a thread always finds an idle one
    try:
        indices = {threads.submit(do, item): index for index, item in enumerate(items)}
        for future in as_completed(indices):
            yield indices[future], future.result()
    finally:
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.end()


class _Process(Generic[Item, Result]):
    """A process that works on one item at a time, and is replaced after a crash.

    In a pool of several processes one crash breaks the pool, and the item that caused it is unknown.
    """

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work
        self._pool = self._started()

    def do(self, item: Item) -> Result | None:
        try:
            return self._pool.submit(self._work, item).result()
        except BrokenProcessPool:
            self.end()
            self._pool = self._started()
            return None

    def end(self) -> None:
        self._pool.shutdown()

    @staticmethod
    def _started() -> ProcessPoolExecutor:
        # Spawned, not forked: a fork of a process with torch's threads can hang.
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Use one thread; end with the parent process."""
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    """End when the parent is gone. A killed parent sends no message, and its processes would wait for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
