"""What a GPU does, in one go: ``bench/gpu.sh``.

First whether a GPU's masks are the CPU's, then how fast it is, then what that means for a smaller card. Needs torch,
numpy, scipy and safetensors, no files, no internet and no SimpleITK; cupy is used where it works.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.machine import measure_ceilings, name_of
from bench.overlap import overlap
from bench.runs import gflop_per_window
from bench.speed import SEED, large_grid, random_weights
from swfastedit_core.atomic import replacing
from swfastedit_core.checkpoint import read_checkpoint
from swfastedit_core.command import Parser, path_argument, run_command, say
from swfastedit_core.cpus import limit_threads
from swfastedit_core.engine import TorchEngine, make_engine, resolve_device
from swfastedit_core.engine.pytorch import difference_network
from swfastedit_core.inferer import infer
from swfastedit_core.intensity import percentiles
from swfastedit_core.phantom import make_phantom
from swfastedit_core.pipeline import segment
from swfastedit_core.postprocess import remove_small_components
from swfastedit_core.volume import Volume
from swfastedit_core.windows import plan_windows

BOX = Path("weights/demo.safetensors")
SMALL_SEED, SMALL_MM = 11, (6.0, 6.0, 6.0)
BATCHES = (1, 2, 4, 8)
WINDOWS = 16  # that a setting is timed with
# https://www.nvidia.com/en-us/data-center/tesla-t4/: float16 with tensor cores, in 10⁹ operations a second
T4_GFLOPS = 65_000.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(prog="bench/gpu.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu (a rehearsal), cuda or cuda:N")
    parser.add_argument("--slices", type=int, nargs="*", default=[326, 1000], metavar="N", help="of the scans of "
                        "400 × 400 voxels (default: 326 1000)")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--output", type=path_argument, default=Path("bench/results/gpu.json"), metavar="JSON",
                        help="default: %(default)s")  # fmt: skip
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    limit_threads()
    device = resolve_device(options.device)
    ceilings = measure_ceilings(device)
    found: dict[str, Any] = {"device": name_of(device), "torch": torch.__version__, "ceilings": asdict(ceilings)}
    options.output.parent.mkdir(parents=True, exist_ok=True)

    def keep(name: str, figures: Any) -> None:
        found[name] = figures
        say(f"{name}: {json.dumps(figures)}")
        with replacing(options.output) as temporary:  # after each part: the machine may be taken away
            temporary.write_text(json.dumps(found, indent=1) + "\n")

    keep("agreement with the CPU", agreement(device))
    with tempfile.TemporaryDirectory() as folder:
        weights = random_weights(Path(folder) / "dynunet.safetensors")
        keep("one setting after the other", settings(weights, device))
        scans = []
        for slices in options.slices:
            pet = make_phantom(SEED, geometry=large_grid(slices)).pet
            scans.append(whole(pet, weights, device, repeats=options.repeats, slices=slices))
            keep("whole scans", scans)
    fast = max(ceilings.gflops.values())
    for scan in scans:
        share = scan["gflops"] / fast
        scan["share of the matrix product"] = share
        if device.type == "cuda":
            scan["projection for a T4, seconds"] = scan["windows"] * scan["gflop_per_window"] / (share * T4_GFLOPS)
    keep("whole scans", scans)


def agreement(device: torch.device) -> list[dict[str, Any]]:
    """Compare logits, masks, percentiles and components of the device with those of the CPU."""
    pet = make_phantom(SMALL_SEED, geometry=_small_grid()).pet
    checkpoint = read_checkpoint(BOX)
    cpu = torch.device("cpu")
    exact = segment(pet, [TorchEngine(checkpoint, device=cpu, precision="float32")], full_grid=True).mask.array_zyx
    window = torch.rand((1, *checkpoint.config.window), generator=torch.Generator().manual_seed(SEED))
    logits = TorchEngine(checkpoint, device=cpu, precision="float32")([window])
    rows: list[dict[str, Any]] = []
    for precision in ("float32", "bfloat16", "float16") if device.type == "cuda" else ("float32", "bfloat16"):
        engine = TorchEngine(checkpoint, device=device, precision=precision)
        there = engine([window.to(device)]).cpu()
        mask = segment(pet, [engine], full_grid=True).mask.array_zyx
        rows.append(
            {
                "precision": precision,
                "logits, mean difference": float((there - logits).abs().mean()),
                "logits, largest difference": float((there - logits).abs().max()),
                "mask, Dice": overlap(exact, mask),
                "mask, voxels that differ": int(np.count_nonzero(exact != mask)),
            }
        )
    suv = torch.from_numpy(pet.array_zyx)
    hot = suv > 3
    same = torch.equal(
        remove_small_components(hot.to(device), min_voxels=20).cpu(), remove_small_components(hot, min_voxels=20)
    )
    limits = [percentiles(values, (0.05, 99.95)) for values in (suv.to(device), suv)]
    rows.append({"components equal": same, "percentiles": limits})
    return rows


def settings(weights: Path, device: torch.device) -> list[dict[str, Any]]:
    """Time windows of the large network: batch sizes, layouts, compilation, graphs."""
    checkpoint = read_checkpoint(weights)
    x, y, z = checkpoint.config.window
    precision = "float16" if device.type == "cuda" else "float32"
    count = WINDOWS if device.type == "cuda" else 1
    image = torch.rand((1, x, y, z), device=device)
    rows = []
    for batch in BATCHES if device.type == "cuda" else (1,):
        engine = TorchEngine(checkpoint, device=device, precision=precision, batch=batch)
        seconds = _seconds(partial(engine, [image] * batch), device, -(-count // batch))
        rows.append({"setting": f"channels-last, batch {batch}", "seconds a window": seconds / batch})
    if device.type != "cuda":
        return rows
    network: Any = difference_network(checkpoint.network()).to(device, torch.float16)
    inputs = image[None].half()
    with torch.inference_mode():
        rows.append(
            {"setting": "default layout, batch 1", "seconds a window": _seconds(partial(network, inputs), device, 4)}
        )
        network = network.to(memory_format=torch.channels_last_3d)
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call] # torch has no stub for it
        with torch.cuda.stream(stream):
            for _ in range(3):
                network(inputs)
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        with torch.cuda.graph(graph):
            network(inputs)
        captured = time.perf_counter() - start
        seconds = _seconds(graph.replay, device, count)
        rows.append({"setting": "CUDA graph, batch 1", "seconds a window": seconds, "seconds to begin": captured})
        compiled: Any = torch.compile(network)
        start = time.perf_counter()
        compiled(inputs)
        torch.cuda.synchronize(device)
        begun = time.perf_counter() - start
        seconds = _seconds(partial(compiled, inputs), device, count)
        rows.append({"setting": "torch.compile, batch 1", "seconds a window": seconds, "seconds to begin": begun})
    return rows


def whole(pet: Volume, weights: Path, device: torch.device, *, repeats: int, slices: int) -> dict[str, Any]:
    """Time a whole scan, from voxels in memory to the mask, with a network that is ready; and all of its windows."""
    checkpoint = read_checkpoint(weights)
    engine = make_engine(checkpoint, device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    totals, networks = [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = segment(pet, [engine])
        totals.append(time.perf_counter() - start)
        networks.append(result.seconds["network"])
    body = statistics.median(networks[1:])
    gflop = gflop_per_window(checkpoint.config)
    figures = {
        "voxels": f"400×400×{slices}",
        "precision": engine.precision,
        "batch": engine.batch,
        "windows": result.windows,
        "gflop_per_window": gflop,
        "network, first run": networks[0],
        "network, body": body,
        "array to mask, warm": statistics.median(totals[1:]),
        "stages": result.seconds,
        "gflops": result.windows * gflop / body,
    }
    if device.type == "cuda":
        plan = plan_windows((400, 400, slices), window=checkpoint.config.window, overlap=0.75)
        image = torch.rand((1, 400, 400, slices), device=device)
        figures["windows, full grid"] = len(plan.starts)
        figures["network, full grid"] = _seconds(lambda: infer(image, plan, engine), device, 1)
        figures["peak GPU memory, GB"] = torch.cuda.max_memory_reserved(device) / 1e9
        precision = engine.precision
        del image, engine
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        segment(pet, [TorchEngine(checkpoint, device=device, precision=precision, batch=1)])
        figures["peak GPU memory, batch 1, GB"] = torch.cuda.max_memory_reserved(device) / 1e9
    return figures


def _small_grid() -> Any:
    from swfastedit_core.phantom import field_of_view

    return field_of_view(SMALL_SEED, spacing_mm=SMALL_MM)


def _seconds(work: Callable[[], object], device: torch.device, times: int) -> float:
    """Return the seconds of one of so many calls in a row, after one to warm up."""
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    sys.exit(main())
