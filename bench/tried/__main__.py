"""What was tried to be faster or better, and what it came to: ``python -m bench.tried``.

cache: compiled networks kept in memory as a file would be, against compiling them from the weights.
sharing: what an ensemble would save whose networks share gathering and blending.
mirror: the mean of a scan's logits and those of its mirror image, against the label.
coarse: a pass with few windows that decides which windows of the full grid are run.
int8: eight bits, quantised by NNCF, which has to be installed for it: ``pip install nncf``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.record import HERE, Record
from bench.speed import random_weights
from bench.tried.case import CPU, Case, read_case
from bench.tried.coarse import coarse
from bench.tried.cost import cache, sharing
from bench.tried.eight_bits import int8
from bench.tried.mirror import mirror
from swfastedit_core.checkpoint import Checkpoint, find_checkpoints, read_checkpoint
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import Parser, path_argument, run_command, say
from swfastedit_core.system.processors import limit_threads
from swfastedit_core.train.data.sources import Source, find_sources

TRIED: dict[str, Callable[[Checkpoint, Checkpoint, list[Case]], list[dict[str, Any]]]] = {
    "cache": cache,
    "sharing": sharing,
    "mirror": mirror,
    "coarse": coarse,
    "int8": int8,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = Parser(
        prog="python -m bench.tried", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=list(TRIED), default=list(TRIED), metavar="WHAT", help=f"of {', '.join(TRIED)}")
    add("--scan", type=path_argument, nargs=2, metavar=("PET", "LABEL"), help="a whole-body scan and its label",
        default=[Path("../shared/data/sts_001") / name for name in ("pet.mha", "lesion.mha")])  # fmt: skip
    add("--phantoms", type=int, default=4, help="more scans (default: %(default)s)")
    add("--seed", type=int, default=78, help="of the phantoms (default: %(default)s)")
    add("--output", type=path_argument, default=HERE / "tried.json", metavar="JSON",
        help="default: %(default)s")  # fmt: skip
    return run_command(lambda _: _run(parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> None:
    if "int8" in options.only and find_spec("nncf") is None:
        others = " ".join(name for name in options.only if name != "int8")
        raise UserError(
            "int8 needs NNCF: `pip install nncf`" + (f", or leave it out: --only {others}" if others else "")
        )
    limit_threads()
    record = Record(options.output, CPU)
    pet, label = options.scan
    box = read_checkpoint(find_checkpoints([Path("weights")])[0])
    sources = [Source(pet.parent.name, pet.parent.name, "scan", pet=pet, label=label)]
    sources += find_sources(f"phantom:{options.phantoms}", seed=options.seed) if options.phantoms else []
    cases = [read_case(source, box.config) for source in sources]
    settings = {"scan": str(pet), "phantoms": options.phantoms, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        large = read_checkpoint(random_weights(Path(folder) / "dynunet.safetensors"))
        for name in options.only:
            rows = TRIED[name](large, box, cases)
            record.keep(name, rows, settings)
            say(f"{name}\n" + "\n".join(f"  {_line(row)}" for row in rows))


def _line(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
    )


if __name__ == "__main__":
    sys.exit(main())
