"""How fast the program is on this machine, and whether its masks stay the recipe's: ``python -m bench``.

Four parts, all by default: speed (beside the recipe made of MONAI's parts), large (scans of 400×400 voxels), agreement
(default masks against the full grid in float32) and scaling (time against the body's volume, large network).
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
from bench.record import HERE, Record
from swfastedit_core.checkpoint import find_checkpoints
from swfastedit_core.engine import resolve_device
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.train.data.sources import Source, find_sources

PARTS = ("speed", "large", "agreement", "scaling")
SETTINGS = {
    "speed": ("scan", "weights", "repeats", "reference_windows"),
    "large": ("repeats",),
    "agreement": ("scan", "label", "weights", "phantoms", "seed"),
    "scaling": ("scan", "repeats"),
}
RANDOM, BOX = "dynunet, 31 M", "weights in the box"
SCAN, LABEL = (Path("../shared/data/sts_001") / name for name in ("pet.mha", "lesion.mha"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    parser = Parser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--scan", type=path_argument, default=SCAN, metavar="PET", help="a whole-body scan (default: %(default)s)")
    add("--label", type=path_argument, metavar="LABEL", help="its lesions (default: those of the default scan)")
    add("--weights", type=path_argument, default=Path("weights"), help="default: %(default)s/")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: %(default)s")
    add("--repeats", type=int, default=3, help="runs of each, but one in float32 (default: %(default)s)")
    add("--reference-windows", type=int, default=5, metavar="N", help="that MONAI runs with the large network; the "
        "others are taken to last as long (default: %(default)s; 0: all)")  # fmt: skip
    add("--phantoms", type=int, default=10, help="compared for agreement (default: %(default)s)")
    add("--seed", type=int, default=78, help="of those phantoms (default: %(default)s)")
    add("--output", type=path_argument, metavar="JSON", help="write all figures there, the parts that are not measured "
        f"stay as they were; a picture goes beside it (default: {HERE}/DEVICE.json)")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    if not options.scan.is_file():
        raise UserError(f"{options.scan}: no such file; name a whole-body PET with --scan")
    if options.repeats < 1 or options.reference_windows < 0 or options.phantoms < 0:
        raise UserError("--repeats, --reference-windows and --phantoms count, expected 1, 0 and 0 at least")
    if "speed" in options.only and find_spec("nibabel") is None:
        raise UserError("speed: MONAI reads scans with nibabel; `pip install nibabel`, or name other parts with --only")
    limit_threads()
    device = resolve_device(options.device)
    record = Record(options.output or HERE / f"{device.type}.json", device)
    options.label = options.label or (LABEL if options.scan == SCAN else None)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for part in [part for part in PARTS if part in options.only]:
            figures, table = DOES[part](options, device, Path(folder), record.path)
            values = {name: getattr(options, name) for name in SETTINGS[part]}
            record.keep(part, figures, {k: str(v) if isinstance(v, Path) else v for k, v in values.items()})
            tables.append(table)
    say("\n\n".join([record.found["machine"], *tables, f"all figures: {record.path}"]))


Part = Callable[[argparse.Namespace, torch.device, Path, Path], tuple[Any, str]]


def _speed(options: argparse.Namespace, device: torch.device, work: Path, _: Path) -> tuple[Any, str]:
    large, box = speed.random_weights(work / "dynunet.safetensors"), find_checkpoints([options.weights])[0]
    scan, windows = options.scan.parent.name, options.reference_windows or None
    return _timed(
        [
            speed.Case(scan, RANDOM, options.scan, large, options.repeats, windows),
            speed.Case(scan, BOX, options.scan, box, options.repeats, None),
            speed.Case(scan, RANDOM, options.scan, large, 1, options=("--precision", "float32")),
        ],
        device,
        work,
    )


def _large(options: argparse.Namespace, device: torch.device, work: Path, __: Path) -> tuple[Any, str]:
    weights = speed.random_weights(work / "dynunet.safetensors")
    scans = {name: speed.large_scan(slices, work / f"{slices}.mha") for name, slices in speed.LARGE.items()}
    return _timed(
        [speed.Case(name, RANDOM, path, weights, options.repeats) for name, path in scans.items()], device, work
    )


def _timed(cases: list[speed.Case], device: torch.device, work: Path) -> tuple[Any, str]:
    measured = speed.measure(cases, device, work)
    return [one.to_json() for one in measured], speed.in_markdown(measured)


def _agreement(options: argparse.Namespace, device: torch.device, _: Path, __: Path) -> tuple[Any, str]:
    name = options.scan.parent.name
    sources = [Source(name, name, "scan", pet=options.scan, label=options.label)]
    sources += find_sources(f"phantom:{options.phantoms}", seed=options.seed) if options.phantoms else []
    found = agreement.agreements(options.weights, sources, device=str(device))
    return [asdict(one) for one in found], agreement.in_markdown(found)


def _scaling(options: argparse.Namespace, device: torch.device, work: Path, output: Path) -> tuple[Any, str]:
    weights = speed.random_weights(work / "dynunet.safetensors")
    points = scaling.measure(options.scan, weights, work, device=device, repeats=options.repeats)
    scaling.draw(points, output.with_suffix(".png"))
    return [asdict(point) for point in points], scaling.in_markdown(points)


DOES: dict[str, Part] = {"speed": _speed, "large": _large, "agreement": _agreement, "scaling": _scaling}


if __name__ == "__main__":
    sys.exit(main())
