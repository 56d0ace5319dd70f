"""A map over items in separate processes: if a process crashes, only its item has no result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

import SimpleITK as sitk
import torch

from swfastedit_core.system.command import Stopped
from swfastedit_core.system.stop_signals import end_on_stop_signals, stop_signals_blocked

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_isolated(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int
) -> Iterator[tuple[int, Result | None]]:
    """Apply `work` to every item in separate processes; yield each index and result when it is finished.

    Parameters
    ----------
    work
        A function that can be pickled, such as a module's function or a `functools.partial` of it.
    items
        Plain values.
    workers
        Number of processes. Each works on one item at a time, with one thread.

    Yields
    ------
    index : int
        Of the item.
    result
        What `work` returned; None if its process crashed or was killed for lack of memory.

    If a signal stops this process, the items in work are given up.
    """
    pool: list[_Worker[Item, Result]] = [_Worker(work) for _ in range(min(workers, len(items)))]
    if not pool:
        return
    idle: SimpleQueue[_Worker[Item, Result]] = SimpleQueue()
    for worker in pool:
        idle.put(worker)

    def do(item: Item) -> Result | None:
        worker = idle.get()
        try:
            return worker.do(item)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(len(pool))  # one for each worker, so that a thread always gets an idle one
    try:
        indices = {threads.submit(do, item): index for index, item in enumerate(items)}
        for future in as_completed(indices):
            yield indices[future], future.result()
    except (KeyboardInterrupt, Stopped):  # the signal reaches this process only
        for process in active_children():
            process.kill()
        raise
    finally:
        threads.shutdown(cancel_futures=True)
        for worker in pool:
            worker.end()


class _Worker(Generic[Item, Result]):
    """A pool of one process, which is replaced after a crash.

    In a pool of several processes one crash breaks the pool, and the item that caused it is unknown.
    """

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self._work = work
        self._pool = self._start_pool()

    def do(self, item: Item) -> Result | None:
        try:
            with stop_signals_blocked():
                future = self._pool.submit(self._work, item)  # the first one starts the process
            return future.result()
        except BrokenProcessPool:
            self.end()
            self._pool = self._start_pool()
            return None

    def end(self) -> None:
        self._pool.shutdown()

    @staticmethod
    def _start_pool() -> ProcessPoolExecutor:
        # Spawned, not forked: a fork of a process with torch's threads can hang.
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_initialise_worker)


def _initialise_worker() -> None:
    """Use one thread; end with the parent process, and when a signal stops both."""
    end_on_stop_signals()
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    """End when the parent has ended. A killed parent sends no message, so its workers would wait for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
