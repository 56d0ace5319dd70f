"""Results and speed of a GPU: ``bench/gpu.sh``.

1. Checks the results and what a GPU can do wrong, in the order of bench/gpu_checks.py.
2. Measures one window in several settings: batches, memory layouts, norms.
3. Measures whole scans, and estimates their time on a T4.

Fails if a check fails. Parts that would begin after --minutes are left out. Needs torch,
numpy, scipy and safetensors, but no files and no internet. Files are read and written if SimpleITK is installed; cupy
is used if it works.
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
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.gpu_checks import check_all
from bench.gpu_settings import measure_settings
from bench.machine import measure_ceilings, seconds_of, sustained_gflops
from bench.programs import gflop_per_window
from bench.record import FOLDER, Record
from bench.speed import SEED, large_grid, random_weights
from swfastedit_core.checkpoint import Checkpoint, read_checkpoint
from swfastedit_core.engine import Engine, TorchEngine, make_engine, resolve_device
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.errors import UserError
from swfastedit_core.inferer import infer
from swfastedit_core.phantom import make_phantom
from swfastedit_core.pipeline import segment
from swfastedit_core.planning import OVERLAP
from swfastedit_core.preprocess import place
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.volume import Volume
from swfastedit_core.windows import plan_windows

SUSTAINED_SECONDS = 2.0  # shortest duration of the matrix product
# https://www.nvidia.com/en-us/data-center/tesla-t4/: float16 with tensor cores, in 10⁹ operations a second
T4_GFLOPS = 65_000.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="bench/gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N, or cpu to try the program without a GPU")
    parser.add_argument("--slices", type=int, nargs="*", default=[326, 1000], metavar="N", help="number of slices of "
                        "each scan of 400 × 400 voxels (default: 326 1000)")  # fmt: skip
    parser.add_argument("--minutes", type=float, default=7.0, help="no part begins later (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each scan (default: %(default)s)")
    parser.add_argument("--output", type=path_argument, default=FOLDER / "gpu.json", metavar="JSON",
                        help="default: %(default)s")  # fmt: skip
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    limit_threads()
    device = resolve_device(options.device)
    record = Record(options.output, device)
    settings = {"slices": options.slices, "repeats": options.repeats}

    start = time.perf_counter()

    def write(part: str, figures: Any) -> None:  # after each part: a later one may fail
        record.write(part, figures, settings)
        say(f"{part}: {json.dumps(figures)}")

    def late(part: str) -> bool:
        minutes: float = (time.perf_counter() - start) / 60
        say(f"{minutes:.1f} minutes: {part}" + (" is left out" if minutes > options.minutes else ""))
        return bool(minutes > options.minutes)

    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        write("device", describe_device(device))
        rows = check_all(device)
        write("checks", rows)
        with tempfile.TemporaryDirectory() as folder:
            weights = random_weights(Path(folder) / "dynunet.safetensors")
            if not late("window by setting"):
                write("window by setting", measure_settings(weights, device))
            if not late("ceilings"):
                write("ceilings", asdict(measure_ceilings(device)))
            scans = []
            for slices in options.slices:
                if late(f"scan of {slices} slices"):
                    break
                pet = make_phantom(SEED, geometry=large_grid(slices)).pet
                scans.append(measure_scan(pet, weights, device, repeats=options.repeats))
                write("whole scans", scans)
    say(f"all figures: {record.path}")
    failed = [f"{row['check']} ({row['value']}, expected {row['expected']})" for row in rows if row["passed"] is False]
    if failed:
        raise UserError(f"{record.content['machine']}: {len(failed)} check(s) failed: {'; '.join(failed)}")


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return the versions of CUDA, cuDNN and cupy, and which GPUs this torch has kernels for."""
    cudnn: Any = torch.backends.cudnn  # torch has no stub for it
    about: dict[str, Any] = {"CUDA": torch.version.cuda, "cuDNN": cudnn.version()}
    about["cupy"] = next((_version(f"cupy-cuda{major}x") for major in (12, 13) if _version(f"cupy-cuda{major}x")), None)
    if device.type == "cuda":
        about["compute capability"] = ".".join(map(str, torch.cuda.get_device_capability(device)))
        about["kernels for"] = torch.cuda.get_arch_list()
    return about


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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


if __name__ == "__main__":
    sys.exit(main())
