"""Time of a click in a session, and how far a preview is from the settled mask: ``python -m bench.clicks``.

For each scan and each network: windows and seconds of the first mask, then of the preview and of the settled mask of
each click. Clicks alternate: tumour in hot tissue outside the mask, background inside the mask.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from bench.record import FOLDER, Record
from bench.speed import LARGE, random_weights, write_large_scan
from swfastedit_core.box import Box, triple
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.engine import Engine, resolve_device
from swfastedit_core.engine.ensemble import load_networks
from swfastedit_core.errors import UserError
from swfastedit_core.files.read import read_volume
from swfastedit_core.inferer import infer
from swfastedit_core.interactive.session import MEMORY_MB, Session
from swfastedit_core.metrics.overlap import agreement_dice
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.volume import Volume
from swfastedit_core.windows import WindowPlan

LARGE_SCAN = "400×400×326"
NEAR_MM = 50.0  # half the side of the box around a click in which masks are compared
HOT_PERCENTILE = 99.5  # of the SUV; tumour clicks lie above it
SEED = 5


@dataclass(frozen=True)
class ClickTime:
    """One click.

    Attributes
    ----------
    kind
        Its name in click files.
    preview_seconds, settled_windows, settled_seconds
        Of the preview, and of the settled mask after it; the preview runs one window.
    undo_seconds
        Of the settled mask after the click is taken back, which runs no window.
    unseen_dice, preview_dice
        Dice around the click with the settled mask: of the mask before the click, and of the preview.
    """

    kind: str
    preview_seconds: float
    settled_windows: int
    settled_seconds: float
    undo_seconds: float
    unseen_dice: float
    preview_dice: float


@dataclass
class Annotated:
    """The clicks on a scan with a network.

    Attributes
    ----------
    scan, network, precision
        Names in the table.
    window_seconds
        Time of one window of the network alone, the median of several.
    first_windows, first_seconds
        Of the mask without clicks.
    used_mb
        Memory that the session keeps at the end.
    clicks
        The clicks.
    """

    scan: str
    network: str
    precision: str
    window_seconds: float
    first_windows: int
    first_seconds: float
    used_mb: float = 0.0
    clicks: list[ClickTime] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: _run(_parser().parse_args(arguments)))


def _parser() -> Parser:
    description = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="python -m bench.clicks", description=__doc__, formatter_class=description)
    add = parser.add_argument
    add("--scan", type=path_argument, action="append", default=[], metavar="PET", help="a whole-body FDG-PET of your "
        "own, in SUV; may be repeated")  # fmt: skip
    add("--weights", type=path_argument, action="append", default=[], metavar="FILE", help="weights of a network that "
        "takes clicks; may be repeated (always: dynunet of 31 M parameters, random)")  # fmt: skip
    add("--no-large", action="store_true", help=f"leave out the phantom of {LARGE_SCAN}")
    add("--no-random", action="store_true", help="leave out the random network")
    add("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: %(default)s")
    add("--clicks", type=int, default=6, help="clicks on each scan (default: %(default)s)")
    add("--memory-mb", type=float, default=MEMORY_MB, help="memory of a session (default: %(default)s)")
    add("--output", type=path_argument, metavar="JSON", help="file for the figures; bench/results holds those of the "
        f"documentation (default: {FOLDER}/clicks.json)")  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.clicks < 1:
        raise UserError("--clicks: expected 1 or more")
    limit_threads()
    device = resolve_device(options.device)
    record = Record(options.output or FOLDER / "clicks.json", device)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        weights = {path.stem: path for path in options.weights}
        if not options.no_random:
            weights["dynunet, 31 M"] = random_weights(Path(folder) / "dynunet.safetensors", GradedBallEncoding())
        scans = {path.parent.name: path for path in options.scan}
        if not options.no_large:
            scans[LARGE_SCAN] = write_large_scan(LARGE[LARGE_SCAN], Path(folder) / "large.mha")
        for scan, pet in scans.items():
            for network, path in weights.items():
                results.append(annotate(scan, pet, network, path, device=device, options=options))
                say(f"{scan}, {network}: {len(results[-1].clicks)} clicks")
    settings = {"clicks": options.clicks, "memory_mb": options.memory_mb}
    record.write("clicks", [asdict(one) for one in results], settings)
    say("\n\n".join([record.content["machine"], to_markdown(results), f"all figures: {record.path}"]))


def annotate(
    scan: str, pet: Path, network: str, weights: Path, *, device: torch.device, options: argparse.Namespace
) -> Annotated:
    """Click on a scan and measure."""
    networks = load_networks(weights, device=str(device))
    if not networks.takes_clicks:
        raise UserError(f"{weights}: the network takes no clicks; expected interactive weights")
    networks.wait()
    volume = read_volume(pet)
    session = Session(networks, volume, memory_mb=options.memory_mb)
    first = session.settle()
    result = Annotated(scan, network, networks[0].precision, _window_seconds(networks[0]), first.windows, first.seconds)
    rng = np.random.default_rng(SEED)
    for number in range(options.clicks):
        click = _next_click(volume, session.mask, list(ClickKind)[number % 2], rng)
        result.clicks.append(_measure(session, click))
    result.used_mb = session.used_bytes / 1e6
    return result


def _measure(session: Session, click: Click) -> ClickTime:
    near = near_click(session.mask, click)
    before = session.mask.array_zyx[near]
    session.add([click])
    preview = session.preview()
    settled = session.settle()
    session.undo()
    undone = session.settle()
    session.add([click])
    exact = session.settle().mask.array_zyx[near]
    return ClickTime(
        click.kind.value,
        preview.seconds,
        settled.windows,
        settled.seconds,
        undone.seconds,
        agreement_dice(exact, before),
        agreement_dice(exact, preview.mask.array_zyx[near]),
    )


def near_click(volume: Volume, click: Click) -> tuple[slice, slice, slice]:
    """Return the index z, y, x of the box around a click in which masks are compared."""
    margin = triple(np.ceil(NEAR_MM / np.array(volume.geometry.spacing_mm)))
    box = Box.at(triple(map(int, click.position)), (1, 1, 1)).grown(margin).clipped(Box.whole(volume.geometry.size_xyz))
    x, y, z = box.slices
    return z, y, x


def _next_click(pet: Volume, mask: Volume, kind: ClickKind, rng: np.random.Generator) -> Click:
    """Draw a click: tumour in hot tissue outside the mask, background inside the mask; else in hot tissue."""
    hot = pet.array_zyx >= np.percentile(pet.array_zyx, HOT_PERCENTILE)
    wanted = hot & (mask.array_zyx == 0) if kind is ClickKind.TUMOUR else mask.array_zyx > 0
    voxels = np.flatnonzero(wanted if wanted.any() else hot)
    z, y, x = np.unravel_index(voxels[rng.integers(len(voxels))], pet.array_zyx.shape)
    return Click(kind, (int(x), int(y), int(z)))


def _window_seconds(network: Engine, repeats: int = 3) -> float:
    window = network.config.window
    image = torch.zeros((network.config.channels.image_channels, *window), device=network.device)
    seconds = []
    for _ in range(repeats + 1):  # the first one is the warm-up
        started = time.perf_counter()
        infer(image, WindowPlan(window, window, ((0, 0, 0),)), network)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def to_markdown(results: Sequence[Annotated]) -> str:
    """Return the figures as a table; medians over the clicks."""
    columns = (
        *("scan", "weights", "precision", "first mask", "one window", "preview", "in windows", "settled"),
        *("undo", "memory", "Dice before", "Dice of the preview"),
    )
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for one in results:
        clicks = one.clicks
        preview = statistics.median(click.preview_seconds for click in clicks)
        windows = statistics.median(click.settled_windows for click in clicks)
        settled = statistics.median(click.settled_seconds for click in clicks)
        lines.append(
            f"| {one.scan} | {one.network} | {one.precision} | {one.first_windows} windows, {one.first_seconds:.1f} s "
            f"| {one.window_seconds:.2f} s | {preview:.2f} s | {preview / one.window_seconds:.2f} "
            f"| {windows:g} windows, {settled:.1f} s "
            f"| {statistics.median(click.undo_seconds for click in clicks):.2f} s | {one.used_mb / 1000:.2f} GB "
            f"| {statistics.mean(click.unseen_dice for click in clicks):.3f} "
            f"| {statistics.mean(click.preview_dice for click in clicks):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
