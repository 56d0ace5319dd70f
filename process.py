"""Segment lesions in whole-body FDG-PET: the algorithm container's entry point, and a command for single files.

``process.py --help`` tells what it reads and writes; see `swfastedit_core.challenge.options`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from swfastedit_core.challenge.interface import (
    TASKS,
    click_notice,
    default_weights,
    find_cts,
    find_pets,
    write_data_centric,
)
from swfastedit_core.challenge.options import OPTIONS, parse
from swfastedit_core.errors import DataWarning, UserError
from swfastedit_core.system.command import require_writable, run_command, say
from swfastedit_core.system.processors import limit_threads

if TYPE_CHECKING:
    from swfastedit_core.engine import Engine
    from swfastedit_core.volume import Volume

LINES_OF_PROGRESS = 10


@dataclass(frozen=True)
class Job:
    """A scan and the file its mask goes to; no CT where no network takes one."""

    pet: Path
    mask: Path
    ct: Path | None = None


def run(options: argparse.Namespace, stderr: TextIO) -> None:
    """Process the scans that the options name, or those that lie in the input folder whenever a call comes."""
    if options.api_method == "exec":
        cases = jobs(options)  # before the networks, whose loading takes longer
        networks, seconds = load(options)
        segment_cases(cases, networks, options, seconds)
        return
    from swfastedit_core.challenge.invoke import serve
    from swfastedit_core.pipeline import warm_up
    from swfastedit_core.system.clock import seconds_since_start

    def prepare() -> Callable[[], list[dict[str, Any]]]:
        networks, seconds = load(options)
        warm_up(networks)
        say(f"ready on port {options.port} after {seconds_since_start():.1f} s")
        return lambda: segment_cases(jobs(options), networks, options, seconds)

    serve(prepare, port=options.port, stderr=stderr)


def load(options: argparse.Namespace) -> tuple[list[Engine], dict[str, float]]:
    """Load the networks; return them and the seconds that the start of the program and this took."""
    with without_collection():
        from swfastedit_core.pipeline import load_networks
        from swfastedit_core.system.clock import seconds_since_start

        limit_threads()
    started, begin = seconds_since_start(), time.perf_counter()
    weights = options.weights or [default_weights(Path(__file__).parent)]
    networks = load_networks(
        *weights,
        device=options.device,
        precision=options.precision,
        backend=options.engine,
        window_batch=options.window_batch,
    )
    if any(network.config.demonstration for network in networks) and not options.quiet:
        say("notice: these are demonstration weights, not for patients")
    return networks, {"start": started, "load": time.perf_counter() - begin}


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage meanwhile, nor ever in what is made meanwhile: what libraries make when imported stays.

    It would take a tenth of a second while torch is imported, and a third when the program ends.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def jobs(options: argparse.Namespace) -> list[Job]:
    """Pair each PET with the file its mask goes to; refuse before the work what would fail after it."""
    from swfastedit_core.files.headers import read_geometry

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
    from swfastedit_core.files.headers import read_geometry
    from swfastedit_core.resample import require_overlap

    takers = [network.source for network in networks if network.config.channels.takes_ct]
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
    cases: list[Job], networks: list[Engine], options: argparse.Namespace, before: dict[str, float]
) -> list[dict[str, Any]]:
    """Segment scan after scan; print and return a report on each, with the seconds of what came before them."""
    notice = None if options.pet is not None else click_notice(options.input, TASKS[options.task])
    if notice and not options.quiet:
        say(f"notice: {notice}")
    reports = []
    for case in add_cts(cases, networks, options):
        report = process(case, networks, options)
        report["seconds"] = {stage: round(seconds, 3) for stage, seconds in (before | report["seconds"]).items()}
        reports.append(report)
        say(json.dumps(report, ensure_ascii=False))
    if options.data_centric:
        write_data_centric(options.output, value=options.data_centric == "true")
    return reports


def process(case: Job, networks: list[Engine], options: argparse.Namespace) -> dict[str, Any]:
    """Segment one scan and write its mask; return what there is to report."""
    from swfastedit_core.files.volumes import read_ct, read_volume, write_mask
    from swfastedit_core.pipeline import segment
    from swfastedit_core.system.clock import Stopwatch, peak_gpu_memory_mb, peak_memory_mb

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
        "seconds": seconds,
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
        given = sys.argv[1:] if arguments is None else arguments
        options = parse(given, baked_in=os.environ.get(OPTIONS, ""))
        level = logging.ERROR if options.quiet else logging.INFO
        logging.basicConfig(stream=sys.stdout, level=level, format="%(message)s")
        run(options, stderr)

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
