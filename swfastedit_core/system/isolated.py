"""Work on many items in several processes, none of which can take the others with it."""

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
    """Do the work on every item in processes of their own; yield place and result as they come.

    Parameters
    ----------
    work
        Fit for another process: a function of a module, with plain values bound to it.
    items
        Plain values.
    workers
        Number of processes; each has one item at a time and one thread.

    Yields
    ------
    place : int
        Of the item.
    result
        What the work returned; None where its process was killed, by a crash or by want of memory.
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

    threads = ThreadPoolExecutor(len(processes))  # as many as processes: there is an idle one to each
    try:
        places = {threads.submit(do, item): place for place, item in enumerate(items)}
        for future in as_completed(places):
            yield places[future], future.result()
    finally:
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.end()


class _Process(Generic[Item, Result]):
    """A process that has one item at a time, and is replaced where one is its end.

    In a pool of several the end of one breaks the whole, and nobody knows which item did it.
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
        # Spawned, not forked: a fork of a process in which torch has threads can hang.
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """Leave the other cores to the other processes, and do not outlive the one that started this."""
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    """End when the parent is gone: killed, it tells nobody, and its processes would wait for items for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
