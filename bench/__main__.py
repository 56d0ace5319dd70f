"""Speed of the program on this machine, and agreement of its masks with the recipe's: ``python -m bench``.

speed      time of a scan, compared with the recipe built from MONAI's parts; needs --scan
large      time of synthetic scans of 400×400 voxels
agreement  Dice of default masks and masks of the full grid in float32: --scan, if given, and phantoms
scaling    time against the volume of the body, large network; needs --scan
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench import agreement, scaling, speed
from bench.record import FOLDER, Record
from swfastedit_core.checkpoint import find_checkpoints
from swfastedit_core.engine import resolve_device
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.train.data.sources import Source, find_sources

PARTS = ("speed", "large", "agreement", "scaling")
NEED_A_SCAN = ("speed", "scaling")
SETTINGS = {
    "speed": ("scan", "weights", "repeats", "reference_windows"),
    "large": ("repeats",),
    "agreement": ("scan", "label", "weights", "phantoms", "seed"),
    "scaling": ("scan", "repeats"),
}
RANDOM_NETWORK, SHIPPED_NETWORK = "dynunet, 31 M", "shipped weights"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="parts to measure (default: all)")
    add("--scan", type=path_argument, metavar="PET", help="a whole-body FDG-PET of your own, in SUV")
    add("--label", type=path_argument, metavar="LABEL", help="mask of the lesions in --scan")
    add("--weights", type=path_argument, default=Path("weights"), help="default: %(default)s/")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: %(default)s")
    add("--repeats", type=int, default=3, help="runs of each case; float32 runs once (default: %(default)s)")
    add("--reference-windows", type=int, default=5, metavar="N", help="windows that MONAI runs with the large network; "
        "the time of all is extrapolated from them (default: %(default)s; 0: run all)")  # fmt: skip
    add("--phantoms", type=int, default=10, help="number of phantoms for agreement (default: %(default)s)")
    add("--seed", type=int, default=78, help="seed of these phantoms (default: %(default)s)")
    add("--output", type=path_argument, metavar="JSON", help="file for the figures; other parts in it are kept; "
        f"the picture of scaling has the same name with .png (default: {FOLDER}/DEVICE.json)")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    _check(options)
    limit_threads()
    device = resolve_device(options.device)
    record = Record(options.output or FOLDER / f"{device.type}.json", device)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for part in [part for part in PARTS if part in options.only]:
            figures, table = MEASURE[part](options, device, Path(folder), record.path)
            record.write(part, figures, {name: _setting(getattr(options, name)) for name in SETTINGS[part]})
            tables.append(table)
    say("\n\n".join([record.content["machine"], *tables, f"all figures: {record.path}"]))


def _check(options: argparse.Namespace) -> None:
    needing = [part for part in NEED_A_SCAN if part in options.only]
    if options.scan is None and needing:
        raise UserError(f"{' and '.join(needing)}: no scan given; name a whole-body PET with --scan, or other parts "
                        "with --only")  # fmt: skip
    if options.label is not None and options.scan is None:
        raise UserError("--label without --scan: expected the scan that it belongs to")
    for path in (options.scan, options.label):
        if path is not None and not path.is_file():
            raise UserError(f"{path}: no such file; expected a whole-body PET for --scan and its mask for --label")
    if options.repeats < 1 or options.reference_windows < 0 or options.phantoms < 0:
        raise UserError("--repeats: expected 1 or more; --reference-windows and --phantoms: expected 0 or more")
    if "agreement" in options.only and options.scan is None and not options.phantoms:
        raise UserError("agreement: no scan and no phantoms; give --scan or --phantoms")
    if "speed" in options.only and find_spec("nibabel") is None:
        raise UserError("speed: the package 'nibabel' is missing, and MONAI reads scans with it; ./run.sh installs it; "
                        "or name other parts with --only")  # fmt: skip


def _setting(value: Any) -> Any:
    """Return an option for the record. A path is cut to folder and name, because figures are published."""
    return "/".join(value.parts[-2:]) if isinstance(value, Path) else value


Measure = Callable[[argparse.Namespace, torch.device, Path, Path], tuple[Any, str]]


def _speed(options: argparse.Namespace, device: torch.device, work: Path, _: Path) -> tuple[Any, str]:
    large, shipped = speed.random_weights(work / "dynunet.safetensors"), find_checkpoints([options.weights]).files[0]
    scan, windows = options.scan.parent.name, options.reference_windows or None
    return _timed(
        [
            speed.Workload(scan, RANDOM_NETWORK, options.scan, large, options.repeats, windows),
            speed.Workload(scan, SHIPPED_NETWORK, options.scan, shipped, options.repeats, None),
            speed.Workload(scan, RANDOM_NETWORK, options.scan, large, 1, options=("--precision", "float32")),
        ],
        device,
        work,
    )


def _large(options: argparse.Namespace, device: torch.device, work: Path, __: Path) -> tuple[Any, str]:
    weights = speed.random_weights(work / "dynunet.safetensors")
    scans = {name: speed.write_large_scan(slices, work / f"{slices}.mha") for name, slices in speed.LARGE.items()}
    return _timed(
        [speed.Workload(name, RANDOM_NETWORK, path, weights, options.repeats) for name, path in scans.items()],
        device,
        work,
    )


def _timed(workloads: list[speed.Workload], device: torch.device, work: Path) -> tuple[Any, str]:
    measured = speed.measure(workloads, device, work)
    return [one.to_json() for one in measured], speed.to_markdown(measured)


def _agreement(options: argparse.Namespace, device: torch.device, _: Path, __: Path) -> tuple[Any, str]:
    sources = []
    if options.scan is not None:
        name = options.scan.parent.name
        sources.append(Source(name, name, "scan", pet=options.scan, label=options.label))
    if options.phantoms:
        sources += find_sources(f"phantom:{options.phantoms}", seed=options.seed)
    agreements = agreement.compare_masks(options.weights, sources, device=str(device))
    return [asdict(one) for one in agreements], agreement.to_markdown(agreements)


def _scaling(options: argparse.Namespace, device: torch.device, work: Path, output: Path) -> tuple[Any, str]:
    weights = speed.random_weights(work / "dynunet.safetensors")
    points = scaling.measure(options.scan, weights, work, device=device, repeats=options.repeats)
    scaling.plot(points, output.with_suffix(".png"))
    return [asdict(point) for point in points], scaling.to_markdown(points)


MEASURE: dict[str, Measure] = {"speed": _speed, "large": _large, "agreement": _agreement, "scaling": _scaling}


if __name__ == "__main__":
    sys.exit(main())
