"""Results and speed of a GPU: ``bench/gpu.sh``.

1. Compares masks, logits, percentiles and components of the GPU with those of the CPU.
2. Measures whole scans, and estimates their time on a T4.
3. Measures one window in several settings.

Fails if the results of GPU and CPU differ by more than the limits. Needs torch, numpy, scipy and safetensors, but no
files and no internet. Files are read and written if SimpleITK is installed; cupy is used if it works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.gpu_settings import measure_settings
from bench.machine import measure_ceilings, seconds_of, sustained_gflops
from bench.programs import gflop_per_window
from bench.record import FOLDER, Record
from bench.speed import SEED, large_grid, random_weights
from swfastedit_core.checkpoint import Checkpoint, read_checkpoint
from swfastedit_core.components import remove_small_components
from swfastedit_core.engine import Engine, TorchEngine, make_engine, resolve_device
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import infer
from swfastedit_core.intensity import percentiles
from swfastedit_core.phantom import field_of_view, make_phantom
from swfastedit_core.pipeline import OVERLAP, segment
from swfastedit_core.preprocess import place
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.volume import Geometry, Volume
from swfastedit_core.windows import plan_windows

DEMO_WEIGHTS = Path("weights/demo.safetensors")
SMALL_SEED, SMALL_MM = 11, (6.0, 6.0, 6.0)
SUSTAINED_SECONDS = 2.0  # shortest duration of the matrix product
# Voxels that may differ from the mask of PyTorch in float32 on the CPU, as a share of that mask. The Dice is then at
# least 0.999, 0.99 and 0.95.
MAX_DIFFERENCE = {"float32": 0.0019, "float16": 0.019, "bfloat16": 0.095}
PERCENTILE_TOLERANCE = 1e-4  # relative
# https://www.nvidia.com/en-us/data-center/tesla-t4/: float16 with tensor cores, in 10⁹ operations a second
T4_GFLOPS = 65_000.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="bench/gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, or cpu to try the program without a GPU")
    parser.add_argument("--slices", type=int, nargs="*", default=[326, 1000], metavar="N", help="number of slices of "
                        "each scan of 400 × 400 voxels (default: 326 1000)")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, help="runs of each scan (default: %(default)s)")
    parser.add_argument("--output", type=path_argument, default=FOLDER / "gpu.json", metavar="JSON",
                        help="default: %(default)s")  # fmt: skip
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    limit_threads()
    device = resolve_device(options.device)
    record = Record(options.output, device)
    settings = {"slices": options.slices, "repeats": options.repeats}

    def write(part: str, figures: Any) -> None:  # after each part: a later one may fail
        record.write(part, figures, settings)
        say(f"{part}: {json.dumps(figures)}")

    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        write("ceilings", asdict(measure_ceilings(device)))
        rows = compare_with_cpu(device)
        write("agreement with the CPU", rows)
        with tempfile.TemporaryDirectory() as folder:
            weights = random_weights(Path(folder) / "dynunet.safetensors")
            scans = []
            for slices in options.slices:
                pet = make_phantom(SEED, geometry=large_grid(slices)).pet
                scans.append(measure_scan(pet, weights, device, repeats=options.repeats))
                write("whole scans", scans)
            write("window by setting", measure_settings(weights, device))
    say(f"all figures: {record.path}")
    failed = [f"{row['check']} ({row['value']}, expected {row['expected']})" for row in rows if not row["passed"]]
    if failed:
        raise UserError(f"{record.content['machine']} and the CPU have different results: {'; '.join(failed)}")


def compare_with_cpu(device: torch.device) -> list[dict[str, Any]]:
    """Compare masks, logits, percentiles and components of the device with those of the CPU.

    Returns
    -------
    list of dict
        For each check: its name, whether it passed, the value, the expected value, and more figures.
    """
    pet = make_phantom(SMALL_SEED, geometry=_small_grid()).pet
    checkpoint = read_checkpoint(DEMO_WEIGHTS)
    cpu, on_cuda = torch.device("cpu"), device.type == "cuda"
    exact_engine = TorchEngine(checkpoint, device=cpu, precision="float32")
    say("agreement: the CPU in float32")
    exact = segment(pet, Ensemble([exact_engine]), full_grid=on_cuda).mask.array_zyx  # fewer windows on a CPU
    window = torch.rand((1, *checkpoint.config.window), generator=torch.Generator().manual_seed(SEED))
    logits = exact_engine([window])
    rows: list[dict[str, Any]] = []
    for precision in MAX_DIFFERENCE if on_cuda else ("float32", "bfloat16"):
        say(f"agreement: {device} in {precision}")
        engine = TorchEngine(checkpoint, device=device, precision=precision)
        difference = (engine([window.to(device)]).cpu() - logits).abs()
        mask = segment(pet, Ensemble([engine]), full_grid=on_cuda).mask.array_zyx
        rows.append(
            {
                **_check(f"mask in {precision}", exact, mask, at_most=MAX_DIFFERENCE[precision]),
                "voxels that differ": int(np.count_nonzero(exact != mask)),
                "logits, mean difference": float(difference.mean()),
                "logits, largest difference": float(difference.max()),
            }
        )
    suv = torch.from_numpy(pet.array_zyx)
    hot = suv > 3
    there, here = (remove_small_components(values, min_voxels=20).cpu() for values in (hot.to(device), hot))
    rows.append(_check("mask without small components", here.numpy(), there.numpy(), at_most=0.0))
    limits, expected = (percentiles(values, (0.05, 99.95)) for values in (suv.to(device), suv))
    near = bool(np.allclose(limits, expected, rtol=PERCENTILE_TOLERANCE))
    rows.append({"check": "percentiles", "passed": near, "value": limits, "expected": expected})
    return rows


def _check(name: str, expected: np.ndarray, mask: np.ndarray, *, at_most: float) -> dict[str, Any]:
    share = differing_share(expected, mask)
    row = {"check": f"{name}, differing share", "passed": share <= at_most}
    return {**row, "value": share, "expected": f"{at_most} at most"}


def differing_share(expected: np.ndarray, mask: np.ndarray) -> float:
    """Return the number of voxels that differ, divided by the voxels of the expected mask, or by 1 if it is empty."""
    differing = int(np.count_nonzero((expected != 0) != (mask != 0)))
    return differing / max(int(np.count_nonzero(expected)), 1)


def measure_scan(pet: Volume, weights: Path, device: torch.device, *, repeats: int) -> dict[str, Any]:
    """Time a whole scan with a loaded network, and all windows of the full grid; compare with a matrix product."""
    checkpoint = read_checkpoint(weights)
    engine = make_engine(checkpoint, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    runs = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = segment(pet, Ensemble([engine]))
        runs.append({"array to mask": time.perf_counter() - start, "network": result.seconds["network"]})
    first, warm = runs[0], {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}
    gflop = gflop_per_window(checkpoint.config)
    figures: dict[str, Any] = {
        "voxels": "×".join(map(str, pet.geometry.size_xyz)),
        "precision": engine.precision,
        "batch": engine.batch,
        "gflop_per_window": gflop,
        "first run, s": first,
        "warm, s": warm,
        "stages of the last run, s": result.seconds,
    }
    if find_spec("SimpleITK") is not None:
        figures["file to file, warm, s"] = _file_to_file(pet, engine, repeats)
    if device.type == "cuda":
        plan = plan_windows(network_shape(pet, checkpoint), window=checkpoint.config.window, overlap=OVERLAP)
        image = torch.rand((1, *network_shape(pet, checkpoint)), device=device)
        seconds = seconds_of(lambda: infer(image, plan, engine), device, 1)
        figures["peak GPU memory, GB"] = torch.cuda.max_memory_reserved(device) / 1e9
        del image
        figures["full grid"] = _compare_with_product(len(plan.starts), seconds, gflop, engine)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        segment(pet, Ensemble([TorchEngine(checkpoint, device=device, precision=engine.precision, batch=1)]))
        figures["peak GPU memory, batch 1, GB"] = torch.cuda.max_memory_reserved(device) / 1e9
    # After the peaks are read, because a matrix product needs memory, too.
    figures["body"] = _compare_with_product(result.windows, warm["network"], gflop, engine)
    torch.cuda.empty_cache()
    return figures


def network_shape(pet: Volume, checkpoint: Checkpoint) -> tuple[int, int, int]:
    """Return the shape of a scan on a network's grid."""
    return place(pet.geometry, checkpoint.config.preprocessing.spacing_mm).network_shape


def _compare_with_product(windows: int, seconds: float, gflop: float, engine: Engine) -> dict[str, Any]:
    """Compare windows with a matrix product of the same duration; estimate their time on an equally efficient T4."""
    product = sustained_gflops(engine.device, engine.precision, seconds=max(seconds, SUSTAINED_SECONDS))
    share = windows * gflop / seconds / product
    figures = {
        "windows": windows,
        "seconds": seconds,
        "gflops": windows * gflop / seconds,
        "matrix product, gflops": product,
        "share of the matrix product": share,
    }
    if engine.device.type == "cuda":
        figures["estimate for a T4, s"] = windows * gflop / (share * T4_GFLOPS)
    return figures


def _file_to_file(pet: Volume, engine: Engine, repeats: int) -> float:
    """Return the median time from a compressed scan file to the mask file, in seconds."""
    from swfastedit_core.files.read import read_volume
    from swfastedit_core.files.write import write_mask, write_volume  # need SimpleITK

    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        scan, mask = Path(folder) / "scan.mha", Path(folder) / "mask.mha"
        write_volume(pet, scan)
        for _ in range(repeats):
            start = time.perf_counter()
            write_mask(segment(read_volume(scan), Ensemble([engine])).mask, mask)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _small_grid() -> Geometry:
    return field_of_view(SMALL_SEED, spacing_mm=SMALL_MM)


if __name__ == "__main__":
    sys.exit(main())
