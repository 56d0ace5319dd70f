"""The OpenVINO engine, for CPUs: several times as fast as PyTorch there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from swfastedit_core.checkpoint import Checkpoint
from swfastedit_core.engine.choice import PRECISIONS
from swfastedit_core.engine.openvino_graph import build_dynunet_graph
from swfastedit_core.engine.openvino_runtime import openvino
from swfastedit_core.errors import UserError, WindowTooLargeError, is_out_of_memory, window_too_large
from swfastedit_core.system.processors import available_cpus
from swfastedit_core.system.threads import start_in_thread

logger = logging.getLogger(__name__)

NAMES = {"float32": "f32", "bfloat16": "bf16"}
# One window runs on each processor, because threads that share a window wait for each other. If these windows would
# need more memory than this, fewer windows run, with more threads each.
MEMORY_BYTES = 2_000_000_000
LIVE_TENSORS = 4.5  # feature maps of the first level in memory at a time
SCRATCH_BYTES = 50_000_000
COMPILE_SECONDS = 600.0  # at most; it takes some seconds


class OpenVinoEngine:
    """OpenVINO's CPU plug-in; see `Engine`."""

    name = "openvino"

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: str,
        batch: int | None = None,
    ) -> None:
        self.config = checkpoint.config
        self.source = str(checkpoint.path)
        self.device = torch.device("cpu")
        self.precision = precision
        self._threads = min(available_cpus(), torch.get_num_threads())
        self._checkpoint = checkpoint
        self.batch = batch or self._windows_at_a_time()
        self._compiled = start_in_thread(lambda: self._compile(self.batch))

    def stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """See `Engine`."""
        source = iter(windows)
        if self._compiled.done() and self._compiled.exception() is not None:  # there may be more memory by now
            self._compiled = start_in_thread(lambda: self._compile(self.batch))
        while True:
            unfinished: deque[Tensor] = deque()
            try:
                yield from self._run(source, unfinished)
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            if self.batch == 1:
                raise self._too_large()
            logger.warning("memory ran out with %d windows at a time, going on with 1", self.batch)
            self.batch = 1
            del self._compiled  # frees memory before the next one is compiled
            self._compiled = start_in_thread(lambda: self._compile(1))
            source = chain(unfinished, source)

    def wait(self) -> None:
        """See `Engine`; if memory ran out, `stream` continues with fewer windows at a time."""
        try:
            self.compiled()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise

    def in_float32(self) -> None:
        """See `Engine`; this engine has no float16."""

    def warm_up_calls(self) -> Iterator[int]:
        """See `Engine`."""
        yield self.batch

    def working_set_bytes(self, batch: int) -> int:
        """See `Engine`. A few feature maps of the first level outweigh all others."""
        x, y, z = self.config.window
        itemsize = PRECISIONS[self.precision].itemsize
        return batch * (SCRATCH_BYTES + int(LIVE_TENSORS * self.config.network.filters[0] * x * y * z * itemsize))

    def _windows_at_a_time(self) -> int:
        return max(1, min(self._threads, MEMORY_BYTES // self.working_set_bytes(1)))

    def compiled(self) -> openvino.CompiledModel:
        """Return the compiled network; wait for it.

        Raises
        ------
        UserError
            If OpenVINO does not end: it waits for ever if it cannot start a thread.
        """
        try:
            return self._compiled.result(COMPILE_SECONDS)
        except TimeoutError as error:
            raise UserError(
                f"OpenVINO has not compiled {self.source} within {COMPILE_SECONDS:.0f} s: out of memory, or too many "
                "threads; raise the limits of this process, or use --engine torch"
            ) from error

    def options(self, batch: int) -> dict[str, object]:
        """Return OpenVINO's options for this many windows at a time."""
        return {
            "INFERENCE_PRECISION_HINT": NAMES[self.precision],
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": batch,
            # Two containers on one host would be pinned to the same processors.
            "ENABLE_CPU_PINNING": False,
        }

    def _compile(self, batch: int) -> openvino.CompiledModel:
        checkpoint, window = self._checkpoint, self.config.window
        weights = {name: tensor.float().numpy() for name, tensor in checkpoint.tensors.items()}
        graph = build_dynunet_graph(checkpoint.config.network, weights, window=window, precision=self.precision)
        return openvino.Core().compile_model(graph, "CPU", self.options(batch))

    def _run(self, windows: Iterator[Tensor], unfinished: deque[Tensor]) -> Iterator[Tensor]:
        """Run windows in parallel; `unfinished` holds those that are started and not yet returned, in their order."""
        compiled = self.compiled()
        idle: list[openvino.InferRequest] = []
        running: deque[openvino.InferRequest] = deque()

        def finish_first() -> Iterator[Tensor]:
            running[0].wait()
            unfinished.popleft()
            idle.append(running.popleft())
            yield torch.from_numpy(idle[-1].get_output_tensor().data)[0, 0]

        try:
            for window in windows:
                unfinished.append(window)
                # One more is queued than can run, so that no processor idles while the caller uses a result.
                if len(running) > self.batch:
                    yield from finish_first()
                request = idle.pop() if idle else compiled.create_infer_request()
                np.copyto(request.get_input_tensor().data[0], window.numpy())
                request.start_async()
                running.append(request)
            while running:
                yield from finish_first()
        finally:
            for request in running:
                with suppress(RuntimeError):  # the first error is being raised already
                    request.wait()

    def _too_large(self) -> WindowTooLargeError:
        return window_too_large(
            self.config.window,
            needed_bytes=self.working_set_bytes(1),
            precision=self.precision,
            device=self.device,
            advice="or use a lower --precision",
        )
