"""Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single files.

Without arguments: every .mha in /input/images/pet, masks to /output/images/automated-petct-lesion-segmentation. The
CT is read, from /input/images/ct or the file that --ct names, where a network takes it.
Options in the environment variable SWFASTEDIT_OPTIONS go before those of the command line: an image has its own there.
With --pet its --api-method and --data-centric do not count.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from swfastedit_core.command import Parser, path_argument, require_writable, run_command, say
from swfastedit_core.contract import (
    DATA_CENTRIC,
    INPUT,
    OUTPUT,
    PORT,
    TASKS,
    click_notice,
    default_weights,
    find_cts,
    find_pets,
    write_data_centric,
)
from swfastedit_core.errors import DataWarning, UserError

if TYPE_CHECKING:
    from swfastedit_core.engine import Engine
    from swfastedit_core.volume import Volume

STARTED = time.perf_counter()
LINES_OF_PROGRESS = 10
OPTIONS = "SWFASTEDIT_OPTIONS"


@dataclass(frozen=True)
class Job:
    """A scan and the file its mask goes to; no CT where no network takes one."""

    pet: Path
    mask: Path
    ct: Path | None = None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(prog="process.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group()
    data.add_argument(
        "--input",
        type=path_argument,
        default=INPUT,
        metavar="DIR",
        help="folder with images/pet/*.mha, and images/ct/*.mha for networks that take CT (default: %(default)s)",
    )
    data.add_argument(
        "--pet",
        type=path_argument,
        metavar="FILE",
        help="one scan in SUV instead: .mha, .nii, .nii.gz or .nrrd; the mask gets its name and format",
    )
    parser.add_argument(
        "--ct",
        type=path_argument,
        metavar="FILE",
        help="its CT in HU, on any grid in the same patient coordinates, for networks that take CT",
    )
    parser.add_argument("--output", type=path_argument, metavar="DIR", help=f"folder for the masks (default: {OUTPUT})")
    parser.add_argument(
        "--task",
        default="autopet2",
        choices=list(TASKS),
        help="whose folders below --input and --output: autopet2 for autoPET II and III, autopet4 for IV and V "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--data-centric",
        choices=["true", "false"],
        help=f"write this to {DATA_CENTRIC} below --output, as autoPET III asks for",
    )
    parser.add_argument(
        "--api-method",
        default="exec",
        choices=["exec", "invoke"],
        help="exec: work and exit; invoke: load the networks, then work whenever asked over HTTP "
        "(default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=PORT, help="of invoke (default: %(default)s, the platform's)")
    parser.add_argument(
        "--weights",
        type=path_argument,
        action="append",
        metavar="PATH",
        help="checkpoint or folder of checkpoints, repeatable; several are an ensemble "
        "(default: /opt/ml/model if anything is there, else weights/)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="of the network (default: float16 on CUDA; bfloat16 on CPUs with instructions for it, else float32)",
    )
    parser.add_argument(
        "--region",
        default="body",
        choices=["body", "full"],
        help="where windows are laid: over the patient, or the recipe's grid over the whole volume "
        "(default: %(default)s). Masks differ; the less a network is trained, the more",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.75,
        help="share that neighbouring windows have in common (default: %(default)s)",
    )
    parser.add_argument(
        "--window-batch",
        type=int,
        metavar="N",
        help="windows at a time; halved when memory runs out (default: 1 on CPU, 4 on CUDA)",
    )
    parser.add_argument(
        "--vote",
        action="store_true",
        help="combine an ensemble by majority vote (default: mean of probabilities)",
    )
    parser.add_argument(
        "--min-lesion-ml",
        type=float,
        default=0.0,
        metavar="ML",
        help="clear connected components smaller than this (default: keep all)",
    )
    parser.add_argument("--quiet", action="store_true", help="print the final JSON only")
    try:
        baked_in = shlex.split(os.environ.get(OPTIONS, ""))
    except ValueError as error:
        parser.error(f"{OPTIONS}: {error}")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args([*baked_in, *given])
    if options.ct is not None and options.pet is None:
        parser.error("--ct is of one scan: it needs --pet FILE; in a folder the CT lies in images/ct")
    if options.pet is not None:
        _without_the_platform(options, parser.parse_args(given), parser)
    if not 0 < options.port < 2**16:
        parser.error(f"--port {options.port}, expected 1 to 65535")
    if options.window_batch is not None and options.window_batch < 1:
        parser.error(f"--window-batch {options.window_batch}, expected 1 or more")
    if not 0.0 <= options.overlap < 1.0:
        parser.error(f"--overlap {options.overlap}, expected 0 or more and less than 1")
    if not options.min_lesion_ml >= 0.0:
        parser.error(f"--min-lesion-ml {options.min_lesion_ml}, expected 0 or more")
    options.output = options.output or OUTPUT
    return options


def _without_the_platform(options: argparse.Namespace, given: argparse.Namespace, parser: Parser) -> None:
    """Take one file: what an image has baked in for the platform's calls and folders does not count."""
    if options.output is None:
        parser.error("--pet needs --output DIR")
    if given.api_method == "invoke" or given.data_centric:
        parser.error("--pet is one file, without the platform's folders: no --api-method invoke, no --data-centric")
    options.api_method, options.data_centric = "exec", None


def run(options: argparse.Namespace, stderr: TextIO) -> None:
    """Process the scans that the options name, or those that lie in the input folder whenever a call comes."""
    if options.api_method == "exec":
        cases = jobs(options)  # before the networks, whose loading takes longer
        networks = load(options)
        segment_cases(cases, networks, options, load_seconds=time.perf_counter() - STARTED)
        return
    from swfastedit_core.pipeline import warm_up
    from swfastedit_core.server import serve

    def prepare() -> Callable[[], list[dict[str, Any]]]:
        networks = load(options)
        warm_up(networks, window_batch=options.window_batch)
        seconds = time.perf_counter() - STARTED
        say(f"ready on port {options.port} after {seconds:.1f} s")
        return lambda: segment_cases(jobs(options), networks, options, load_seconds=seconds)

    serve(prepare, port=options.port, stderr=stderr)


def load(options: argparse.Namespace) -> list[Engine]:
    """Load the networks."""
    from swfastedit_core.pipeline import load_networks

    weights = options.weights or [default_weights(Path(__file__).parent)]
    networks = load_networks(*weights, device=options.device, precision=options.precision)
    if any(network.config.demonstration for network in networks) and not options.quiet:
        say("notice: these are demonstration weights, trained on synthetic scans; not for patients")
    return networks


def jobs(options: argparse.Namespace) -> list[Job]:
    """Pair each PET with the file its mask goes to; refuse before the work what would fail after it."""
    from swfastedit_core.volume import read_geometry

    if options.pet is not None:
        found = [Job(options.pet, options.output / options.pet.name, options.ct)]
    else:
        masks = options.output / TASKS[options.task].mask
        found = [Job(pet, masks / pet.name) for pet in find_pets(options.input)]
    if options.api_method == "invoke" and len(found) > 1:
        names = ", ".join(job.pet.name for job in found[:5])
        raise UserError(f"{options.input}: {len(found)} scans ({names}), expected the one of this call")
    for job in found:
        require_writable(job.mask)
        for scan in (job.pet, *([job.ct] if job.ct else [])):
            if scan.exists() and job.mask.exists() and scan.samefile(job.mask):
                raise UserError(f"{job.mask}: the mask would replace the scan; choose another --output")
            read_geometry(scan)
    return found


def add_cts(cases: list[Job], networks: list[Engine], options: argparse.Namespace) -> list[Job]:
    """Give each scan its CT where a network takes one; refuse as `jobs` does."""
    from swfastedit_core.preprocess import require_overlap
    from swfastedit_core.volume import read_geometry

    takers = [network.source for network in networks if "ct" in network.config.channels]
    if not takers:
        if options.ct is not None and not options.quiet:
            say(f"notice: {options.ct}: not used, the networks take PET only")
        return [replace(case, ct=None) for case in cases]
    if options.pet is None:
        cts = find_cts(options.input, [case.pet for case in cases])
        cases = [replace(case, ct=ct) for case, ct in zip(cases, cts, strict=True)]
    for case in cases:
        if case.ct is None:
            raise UserError(f"{case.pet}: {takers[0]} takes its CT as well; name the CT with --ct FILE")
        require_overlap(read_geometry(case.ct), read_geometry(case.pet), source=str(case.ct))
    return cases


def segment_cases(
    cases: list[Job], networks: list[Engine], options: argparse.Namespace, *, load_seconds: float
) -> list[dict[str, Any]]:
    """Segment scan after scan; print and return a report on each."""
    notice = None if options.pet is not None else click_notice(options.input, TASKS[options.task])
    if notice and not options.quiet:
        say(f"notice: {notice}")
    reports = []
    for case in add_cts(cases, networks, options):
        report = process(case, networks, options)
        report["seconds"] = {"load": round(load_seconds, 3), **report["seconds"]}
        reports.append(report)
        say(json.dumps(report, ensure_ascii=False))
    if options.data_centric:
        write_data_centric(options.output, value=options.data_centric == "true")
    return reports


def process(case: Job, networks: list[Engine], options: argparse.Namespace) -> dict[str, Any]:
    """Segment one scan and write its mask; return what there is to report."""
    from swfastedit_core.clock import Stopwatch, peak_gpu_memory_mb, peak_memory_mb
    from swfastedit_core.pipeline import segment
    from swfastedit_core.volume import read_ct, read_volume, write_mask

    clock, begin = Stopwatch(networks[0].device), time.perf_counter()
    with data_warnings(quiet=options.quiet) as messages, clock.stage("read"):
        scans: dict[str, Volume] = {"pet": read_volume(case.pet)}
        if case.ct is not None:
            scans["ct"] = read_ct(case.ct)
    with progress_bar(case.pet.name, quiet=options.quiet) as progress:
        result = segment(
            scans.pop("pet"),  # handed over, not kept: `segment` lets go of the voxels before the networks run
            networks,
            ct=scans.pop("ct", None),
            full_grid=options.region == "full",
            overlap=options.overlap,
            window_batch=options.window_batch,
            vote=options.vote,
            min_lesion_ml=options.min_lesion_ml,
            progress=progress,
        )
    with clock.stage("write"):
        write_mask(result.mask, case.mask)
    seconds = {"read": clock.seconds["read"], **result.seconds, "write": clock.seconds["write"]}
    seconds["total"] = time.perf_counter() - begin
    return {
        "output": str(case.mask),
        **({"ct": str(case.ct)} if case.ct is not None else {}),
        "engine": networks[0].name,
        "device": str(networks[0].device),
        "precision": networks[0].precision,
        "weights": [network.source for network in networks],
        "demonstration": any(network.config.demonstration for network in networks),
        "windows": result.windows,
        "windows_full_grid": result.windows_full_grid,
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "peak_memory_mb": round(peak_memory_mb()),
        **({"peak_gpu_memory_mb": round(peak_gpu_memory_mb())} if networks[0].device.type == "cuda" else {}),
        "lesion_voxels": result.lesion_voxels,
        "lesion_volume_ml": round(result.lesion_ml, 3),
        "warnings": messages,
    }


@contextmanager
def data_warnings(*, quiet: bool) -> Iterator[list[str]]:
    """Collect what the reader finds odd about a scan, and print it: on stdout, since stderr means failure."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        yield messages
    messages += [str(warning.message) for warning in caught if issubclass(warning.category, DataWarning)]
    for message in messages:
        if not quiet:
            say(f"warning: {message}")


@contextmanager
def progress_bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show the windows done: a bar on a terminal, else a line for every tenth."""
    if quiet:
        yield None
        return
    if sys.stdout.isatty():
        from tqdm import tqdm

        with tqdm(desc=name, unit="window", file=sys.stdout) as bar:

            def move(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield move
        return
    last = -1

    def line(done: int, total: int) -> None:
        nonlocal last
        tenth = done * LINES_OF_PROGRESS // total
        if tenth > last:
            last = tenth
            say(f"{name}: {done} of {total} windows")

    yield line


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit code."""

    def work(stderr: TextIO) -> None:
        options = parse(arguments)
        level = logging.ERROR if options.quiet else logging.INFO
        logging.basicConfig(stream=sys.stdout, level=level, format="%(message)s")
        run(options, stderr)

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
