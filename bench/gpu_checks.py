"""Checks of a GPU: its results agree with those of the CPU, and nothing that a GPU can do wrong stops a scan."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from bench.gpu_trial import Row, Trial, compare, make_trial, needs_gpu
from swfastedit_core.components import remove_small_components
from swfastedit_core.engine import TorchEngine
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.engine.torch_engine import difference_network
from swfastedit_core.engine.torch_norm import find_other_layouts, keep_channels_last
from swfastedit_core.errors import DataWarning, is_out_of_memory
from swfastedit_core.intensity import percentiles
from swfastedit_core.pipeline import warm_up
from swfastedit_core.system.command import say
from swfastedit_core.system.cupy_arrays import compute_with_cupy

# Voxels that may differ from the mask of PyTorch in float32 on the CPU, as a share of that mask. The Dice is then at
# least 0.999, 0.99 and 0.95.
MAX_DIFFERENCE = {"float32": 0.0019, "float16": 0.019, "bfloat16": 0.095}
MAX_FLOAT32_ERROR = 2e-3
PERCENTILE_TOLERANCE = 1e-6  # relative
OVERFLOW_SCALE = 3e4  # of convolutions; the norm after them divides by it again, unless float16 has overflowed
SLOWER_FIRST_SCAN = 1.5  # the first scan after the warm-up may take so many times as long as the second one
TOO_MANY_FLOATS = 2**50


def check_all(device: torch.device) -> list[Row]:
    """Run all checks in their order.

    Returns
    -------
    list of dict
        For each check: its name; whether it passed, or None if this machine lacks something for it; the value; the
        expected value; and more figures. A check that raises an error has not passed.
    """
    trial = make_trial(device)
    rows: list[Row] = []
    for check in CHECKS:
        say(f"check: {check.__name__.replace('_', ' ')}")
        try:
            rows += list(check(trial))
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            rows.append({"check": check.__name__, "passed": False, "value": text, "expected": "no error"})
    return rows


def masks_and_logits_agree(trial: Trial) -> Iterator[Row]:
    """Compare each precision with PyTorch in float32 on the CPU."""
    on_cpu = trial.engine("float32", device=torch.device("cpu"))
    expected, window = trial.mask(on_cpu), trial.windows[0]
    logits = on_cpu([window])
    for precision in MAX_DIFFERENCE if trial.on_cuda else ("float32", "bfloat16"):
        engine = trial.engine(precision)
        difference = (engine([window.to(trial.device)]).cpu() - logits).abs()
        mask = trial.mask(engine)
        if precision == "float32":  # TF32, which cuDNN takes by default, is wrong by more
            largest = float(difference.max() / logits.std())
            passed = largest < MAX_FLOAT32_ERROR
            name = "logits in full float32, largest difference in standard deviations"
            yield {"check": name, "passed": passed, "value": largest, "expected": f"less than {MAX_FLOAT32_ERROR}"}
        yield {
            **compare(f"mask in {precision}", expected, mask, at_most=MAX_DIFFERENCE[precision]),
            "voxels that differ": int(np.count_nonzero(expected != mask)),
            "logits, mean difference": float(difference.mean()),
            "logits, largest difference": float(difference.max()),
        }


def components_agree(trial: Trial) -> Iterator[Row]:
    """Remove small components on the device and on the CPU."""
    hot = torch.from_numpy(trial.pet.array_zyx) > 3
    there, here = (remove_small_components(values, min_voxels=20).cpu() for values in (hot.to(trial.device), hot))
    yield compare("mask without small components", here.numpy(), there.numpy(), at_most=0.0)


def percentiles_agree(trial: Trial) -> Iterator[Row]:
    """Compute percentiles by sorting on the device, and with numpy."""
    suv = torch.from_numpy(trial.pet.array_zyx)
    found, expected = (percentiles(values, (0.05, 99.95)) for values in (suv.to(trial.device), suv))
    near = bool(np.allclose(found, expected, rtol=PERCENTILE_TOLERANCE))
    yield {"check": "percentiles", "passed": near, "value": found, "expected": expected}


def exhausted_memory_is_recognised(trial: Trial) -> Iterator[Row]:
    """Ask for too much memory; then run a batch that does not fit."""
    try:
        torch.empty(TOO_MANY_FLOATS, device=trial.device)
        text, known = "there was so much memory", False
    except RuntimeError as error:
        text, known = str(error).split("\n")[0][:200], is_out_of_memory(error)
    yield {"check": "exhausted memory is recognised", "passed": known, "value": text, "expected": "out of memory"}
    if not trial.on_cuda:
        yield needs_gpu("batch that does not fit")
        return
    expected = trial.logits(trial.engine(trial.fast, batch=1))
    engine = trial.engine(trial.fast, batch=8)
    with _little_memory(trial, engine.working_set_bytes(3)):
        found = trial.logits(engine)
    difference = float((found - expected).abs().max() / expected.std())
    yield {
        "check": "batch that does not fit",
        "passed": engine.batch < 8 and difference < 0.1,
        "value": {"windows at a time": engine.batch, "largest difference of logits, standard deviations": difference},
        "expected": "fewer than 8, and less than 0.1",
    }


def cupy_computes_and_fails_well(trial: Trial) -> Iterator[Row]:
    """Run cupy; let it fail; look at the memory that it keeps."""
    if not (trial.on_cuda and find_spec("cupy")):
        yield {**needs_gpu("cupy"), "value": "no GPU or no cupy"}
        return
    import cupy

    def fails(array: Any) -> None:
        _ = array * 2
        raise ValueError("on purpose")

    def count(array: Any) -> int:
        from cupyx.scipy import ndimage

        return int(ndimage.label(array, structure=ndimage.generate_binary_structure(3, 2))[1])

    blocks = torch.zeros((64, 64, 64), dtype=torch.uint8, device=trial.device)
    blocks[10:20, 10:20, 10:20] = blocks[40:50, 40:50, 40:50] = 1
    components, failed = compute_with_cupy(blocks, count), compute_with_cupy(blocks, fails)
    kept = cupy.get_default_memory_pool().total_bytes()
    yield {
        "check": f"cupy {cupy.__version__}",
        "passed": (components, failed, kept) == (2, None, 0),
        "value": {"components": components, "after a failure": failed, "bytes that it keeps": kept},
        "expected": "2, null and 0",
    }


def all_convolutions_read_channels_last(trial: Trial) -> Iterator[Row]:
    """Run the network with hooks on its convolutions."""
    dtype = getattr(torch, trial.fast)
    network = keep_channels_last(difference_network(trial.checkpoint.network()).to(trial.device, dtype))
    for windows in (1, 2) if trial.on_cuda else (2,):  # on a CPU, a convolution of one window changes the layout
        shape = (windows, 1, *trial.checkpoint.config.window)
        x = torch.empty(shape, dtype=dtype, device=trial.device, memory_format=torch.channels_last_3d).zero_()
        with torch.inference_mode():
            others = find_other_layouts(network, x)
        name = f"convolutions that read another layout, {windows} window(s)"
        yield {"check": name, "passed": not others, "value": others, "expected": []}


def overflow_is_repeated(trial: Trial) -> Iterator[Row]:
    """Segment with weights that overflow in float16."""
    tensors = {
        name: tensor * (OVERFLOW_SCALE if "conv2" in name else 1.0) for name, tensor in trial.checkpoint.tensors.items()
    }
    checkpoint = replace(trial.checkpoint, tensors=tensors)
    if not trial.on_cuda:
        yield needs_gpu("float16 that overflows")
        return
    exact = trial.mask(TorchEngine(checkpoint, device=trial.device, precision="float32"))
    engine = TorchEngine(checkpoint, device=trial.device, precision="float16", repeat_in_float32=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        mask = trial.mask(engine)
    said = any("repeated in float32" in str(one.message) for one in caught)
    row = compare("float16 that overflows", exact, mask, at_most=0.0)
    yield {**row, "passed": row["passed"] and said, "warned": said}


def settings_of_a_program_change_nothing(trial: Trial) -> Iterator[Row]:
    """Lower the precision of float32 in PyTorch, as a program may do that calls this one."""
    engine, window = trial.engine("float32"), trial.windows[0].to(trial.device)
    expected = engine([window])
    backends: Any = torch.backends  # torch has no stubs for these settings
    conv = backends.cudnn.conv
    before, of_conv = backends.fp32_precision, conv.fp32_precision
    try:
        backends.fp32_precision = conv.fp32_precision = "tf32"
        with torch.autocast(trial.device.type):
            same = torch.equal(engine([window]), expected)
    finally:
        backends.fp32_precision, conv.fp32_precision = before, of_conv
    yield {"check": "settings of a program", "passed": same, "value": same, "expected": True}


def first_scan_is_warm(trial: Trial) -> Iterator[Row]:
    """Time the first and the second scan after the warm-up."""
    engine = trial.engine(trial.fast)
    start = time.perf_counter()
    warm_up(Ensemble([engine]))
    seconds = [time.perf_counter() - start]
    for _ in range(2):
        start = time.perf_counter()
        trial.mask(engine)
        seconds.append(time.perf_counter() - start)
    warm, first, second = seconds
    yield {
        "check": "first scan after the warm-up",
        "passed": first < SLOWER_FIRST_SCAN * second,
        "value": {"warm-up, s": warm, "first, s": first, "second, s": second, "windows at a time": engine.batch},
        "expected": f"less than {SLOWER_FIRST_SCAN} times the second",
    }


def batches_agree(trial: Trial) -> Iterator[Row]:
    """Compare the masks of several numbers of windows at a time, and of two runs with one at a time."""
    expected = trial.mask(trial.engine(trial.fast, batch=1))
    for batch in (1, 2, 4, 8) if trial.on_cuda else (1, 2):
        mask = trial.mask(trial.engine(trial.fast, batch=batch))
        name = "the same windows at a time, again" if batch == 1 else f"{batch} windows at a time"
        yield compare(name, expected, mask, at_most=0.0 if batch == 1 else MAX_DIFFERENCE["float16"])


# The warm-up comes first: the other checks would warm up the libraries.
CHECKS: tuple[Callable[[Trial], Iterator[Row]], ...] = (
    first_scan_is_warm,
    masks_and_logits_agree,
    exhausted_memory_is_recognised,
    cupy_computes_and_fails_well,
    components_agree,
    percentiles_agree,
    all_convolutions_read_channels_last,
    overflow_is_repeated,
    settings_of_a_program_change_nothing,
    batches_agree,
)


@contextmanager
def _little_memory(trial: Trial, room: int) -> Iterator[None]:
    """Let PyTorch allocate only this much more memory on the GPU."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(trial.device).total_memory
    share = min((torch.cuda.memory_reserved(trial.device) + room) / total, 1.0)
    torch.cuda.set_per_process_memory_fraction(share, trial.device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, trial.device)
