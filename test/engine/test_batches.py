"""How many windows run at a time."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from swfastedit_core.engine.batches import BatchSize, in_batches
from swfastedit_core.errors import WindowTooLargeError

CPU = torch.device("cpu")


def run(room, sizes, count=7):
    """Run numbered windows on a device with room for `room` of them; return the sizes of its calls."""
    calls, batch = [], BatchSize(sizes)

    def call(chunk):
        calls.append(len(chunk))
        if len(chunk) > room:
            raise MemoryError
        return torch.stack([window[0] for window in chunk])

    def too_large():
        return WindowTooLargeError("too large")

    windows = (torch.full((1, 1, 1, 1), float(i)) for i in range(count))
    found = [logits.item() for logits in in_batches(call, windows, batch, device=CPU, too_large=too_large)]
    assert found == list(range(count))
    return calls, batch.size


def test_batch_halves_when_memory_runs_out_and_nothing_is_lost():
    assert run(1, [4]) == ([4, 2, 1, 1, 1, 1, 1, 1, 1], 1)
    assert run(2, [4]) == ([4, 2, 2, 2, 1], 2)


def test_last_batch_holds_what_is_left():
    assert run(9, [3]) == ([3, 3, 1], 3)


def test_last_windows_run_in_halves_of_the_batch_so_that_few_sizes_occur():
    assert run(99, [8], count=23) == ([8, 8, 4, 2, 1], 8)
    assert run(99, [6], count=11) == ([6, 3, 1, 1], 6)


def test_convolution_without_a_kernel_counts_as_memory_if_there_are_several_windows():
    no_kernel, calls = RuntimeError("GET was unable to find an engine to execute this computation"), []

    def call(chunk):
        calls.append(len(chunk))
        if len(chunk) > allowed:
            raise no_kernel
        return torch.zeros(len(chunk), 1, 1, 1)

    windows = [torch.zeros(1, 1, 1, 1)] * 3
    allowed = 1
    run_all = partial(in_batches, call, windows, device=CPU, too_large=WindowTooLargeError)
    assert len(list(run_all(batch=BatchSize([2])))) == 3
    assert calls == [2, 1, 1, 1]
    allowed = 0
    with pytest.raises(RuntimeError, match="unable to find an engine"):
        list(run_all(batch=BatchSize([1])))


def test_one_window_that_does_not_fit_is_said():
    with pytest.raises(WindowTooLargeError, match="too large"):
        run(0, [2])


def test_other_errors_are_not_taken_for_memory():
    def call(chunk):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_batches(call, [torch.zeros(1, 1, 1, 1)], BatchSize([1]), device=CPU, too_large=WindowTooLargeError))


def sizes_of_calls(seconds_a_window, calls=9, sizes=(1, 2, 4, 8)):
    batch, seen = BatchSize(sizes), []
    for _ in range(calls):
        seen.append(batch.size)
        if batch.undecided:
            batch.record(batch.size, batch.size * seconds_a_window[batch.size])
    return seen


def test_larger_batches_are_tried_as_long_as_they_pay():
    assert sizes_of_calls({1: 1.0, 2: 0.8, 4: 0.79}) == [1, 1, 2, 2, 4, 4, 2, 2, 2]
    assert sizes_of_calls({1: 1.0, 2: 0.96}) == [1, 1, 2, 2, 1, 1, 1, 1, 1]
    assert sizes_of_calls({1: 1.0, 2: 0.6, 4: 0.4, 8: 0.3}) == [1, 1, 2, 2, 4, 4, 8, 8, 8]


def test_first_call_of_a_size_is_not_what_it_is_judged_by():
    batch = BatchSize([1, 2])
    for size, seconds in ((1, 9.0), (1, 1.0), (2, 9.0), (2, 1.0)):
        assert batch.size == size
        batch.record(size, seconds)
    assert (batch.size, batch.undecided) == (2, False)


def test_size_is_decided_when_memory_runs_out():
    batch = BatchSize([1, 2, 4, 8])
    for size, seconds in ((1, 1.0), (1, 1.0), (2, 1.0), (2, 1.0)):
        assert (batch.size, batch.undecided) == (size, True)
        batch.record(size, seconds)
    assert batch.size == 4
    batch.halve(4)
    assert (batch.size, batch.undecided) == (2, False)
