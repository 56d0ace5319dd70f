"""Try an image as grand-challenge.org would, with both of its API methods; print a table.

Exit code 1 where a check does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from trial.calls import Server, served
from trial.containers import Engine, Image, Outcome
from trial.judge import Check, Wanted, failures, judge_image, judge_outcome
from trial.limits import GIB, Folders, Limits, default_memory, temporary_folders
from trial.scans import Case, cases

ROOT = Path(__file__).parents[2]
SOCKETS = {
    "autopet2": Path("images/automated-petct-lesion-segmentation"),
    "autopet4": Path("images/tumor-lesion-segmentation"),
}
CUDA = "import torch; print(torch.version.cuda, *torch.cuda.get_arch_list())"
CALLED = ("test/input", "truncated PET", "left-handed PET")  # in this order, of one server
STOPPED = (0, 143)
PROMPT_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """A line of the table, with the checks behind it."""

    name: str
    checks: Sequence[Check]
    seconds: float | None = None
    peak_bytes: int | None = None
    remark: str = ""


@dataclass(frozen=True)
class Trial:
    """An image, the cases, and where it is run."""

    engine: Engine
    image: Image
    limits: Limits
    cases: Sequence[Case]

    def image_row(self) -> Row:
        """Look at the image itself."""
        cuda = self.engine.ask(self.image, "python", "-c", CUDA)
        user = self.engine.ask(self.image, "id", "-u").strip()
        checks = judge_image(self.image, cuda=cuda, user=user)
        return Row("image", checks, remark="; ".join(f"{c.name.removeprefix('image ')} {c.found}" for c in checks[:3]))

    def exec_row(self, case: Case, *, name: str = "", extra: Sequence[str] = (), model: Path | None = None) -> Row:
        """Run one case from the container's start to its end."""
        arguments = [*self._method("exec"), *extra]
        with temporary_folders() as folders:
            pet = case.fill(folders.case)
            outcome = self.engine.run(self.image, folders, self.limits, arguments=arguments, model=model)
            checks = judge_outcome(outcome, self.limits, self._wanted(case, pet, extra, 0), folders.output)
            if model is not None:
                checks.append(Check("mounted model used", b"/opt/ml/model/" in outcome.stdout))
            self.engine.empty(self.image, folders)
        remark = ", ".join([_moments(outcome), *(f"Dice {c.found}" for c in checks if c.name.startswith("Dice"))])
        return Row(f"exec: {name or case.name}", checks, outcome.seconds, outcome.peak_bytes, remark.strip(", "))

    def invoke_rows(self) -> Iterator[Row]:
        """Call one server again and again, with the contents of its folders changing."""
        called = [case for name in CALLED for case in self.cases if case.name == name]
        with temporary_folders() as folders:
            with served(self.engine, self.image, folders, self.limits, arguments=self._method("invoke")) as server:
                health = server.healthy()
                answer = health.stdout.decode(errors="replace")
                yield Row(
                    "invoke: health",
                    [Check("health 200", health.code == 200, f"{health.code} {answer}")],
                    health.seconds,
                )
                for case in called:
                    yield self._call_row(server, case, folders)
                yield _stop_row(server)
            self.engine.empty(self.image, folders)

    def _call_row(self, server: Server, case: Case, folders: Folders) -> Row:
        folders.clear()
        pet = case.fill(folders.case)
        outcome = server.call()
        checks = judge_outcome(outcome, self.limits, self._wanted(case, pet, (), 201), folders.output)
        self.engine.empty(self.image, folders)
        return Row(f"invoke: {case.name}", checks, outcome.seconds, outcome.peak_bytes)

    def _method(self, name: str) -> list[str]:
        """Return the arguments that make the image speak an API method, none where it does by itself."""
        return [] if self.image.labels.get("org.grand-challenge.api-method", "exec") == name else ["--api-method", name]

    def _wanted(self, case: Case, pet: Path, extra: Sequence[str], success: int) -> Wanted:
        options = [*self.image.options, *extra]
        task = _value(options, "--task") or "autopet2"
        data_centric = _value(options, "--data-centric")
        values = () if data_centric is None else (("data-centric-model.json", data_centric == "true"),)
        return Wanted(pet if case.usable else None, SOCKETS[task], success, case.expected, values)

    def rows(self, methods: Sequence[str], model: Path | None) -> Iterator[Row]:
        """Do everything."""
        yield self.image_row()
        if "exec" in methods:
            for case in self.cases:
                yield self.exec_row(case)
            usable = [case for case in self.cases if case.usable]
            if usable and model is not None:
                yield self.exec_row(usable[0], name="model tarball", model=model)
                sockets = ("--task", "autopet4", "--data-centric", "true")
                yield self.exec_row(usable[0], name="autoPET IV sockets", extra=sockets)
        if "invoke" in methods:
            yield from self.invoke_rows()


def _stop_row(server: Server) -> Row:
    outcome = server.stop()
    checks = [
        Check(
            "SIGTERM ends it at once", outcome.code in STOPPED and outcome.seconds < PROMPT_SECONDS, f"{outcome.code}"
        ),
    ]
    return Row("invoke: SIGTERM", checks, outcome.seconds)


def _value(options: Sequence[str], name: str) -> str | None:
    """Return the value of an option on a command line; the last one counts."""
    values = [b for a, b in pairwise(options) if a == name]
    values += [item.removeprefix(f"{name}=") for item in options if item.startswith(f"{name}=")]
    return values[-1] if values else None


def _moments(outcome: Outcome) -> str:
    """Say when the first window was done and when the mask was there, since the container was created."""
    first = next((seconds for seconds, line in outcome.lines if line.endswith(b"windows\n")), None)
    mask = next((seconds for seconds, line in outcome.lines if line.startswith(b'{"output"')), None)
    return "" if first is None or mask is None else f"first window {first:.1f} s, mask {mask:.1f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _tried(options)
    except RuntimeError as error:  # of the engine
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1


def _tried(options: argparse.Namespace) -> int:
    engine = Engine(options.engine)
    memory = default_memory() if options.memory_gb is None else int(options.memory_gb * GIB)
    chosen = [
        case
        for case in cases(options.input, options.expected if options.expected.is_dir() else None)
        if not options.only or case.name in options.only
    ]
    trial = Trial(engine, engine.inspect(options.image), Limits(options.time_limit, memory), chosen)
    begin, failed = time.monotonic(), 0
    print(f"{'check':34} {'result':8} {'time':>8} {'memory':>9}  remarks", flush=True)
    for row in trial.rows(options.methods, options.model):
        wrong = failures(row.checks)
        failed += len(wrong)
        result = f"{len(wrong)} WRONG" if wrong else f"ok ({len(row.checks)})"
        seconds = "" if row.seconds is None else f"{row.seconds:.1f} s"
        peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e9:.2f} GB"
        print(f"{row.name:34} {result:8} {seconds:>8} {peak:>9}  {row.remark}".rstrip(), flush=True)
        for check in wrong:
            print(f"    FAILED {check.name}: {check.found}", flush=True)
    verdict = f"{failed} check(s) FAILED" if failed else "all checks hold"
    print(f"{options.image}: {verdict}, {time.monotonic() - begin:.0f} s")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trial", description=__doc__)
    parser.add_argument("--engine", default="docker", help="docker or podman (default: %(default)s)")
    parser.add_argument("--image", default="swfastedit:latest", help="default: %(default)s")
    parser.add_argument(
        "--time-limit", type=float, default=300.0, metavar="S", help="seconds a case (default: %(default)s)"
    )
    parser.add_argument("--memory-gb", type=float, metavar="GIB", help="default: 16, or what the machine has less 1")
    parser.add_argument("--methods", nargs="+", default=["exec", "invoke"], choices=["exec", "invoke"])
    parser.add_argument("--only", nargs="+", metavar="CASE", help="names of cases (default: all)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="weights to mount at /opt/ml/model in one more case")
    parser.add_argument("--input", type=Path, default=ROOT / "test/input", metavar="DIR", help="the shipped case")
    parser.add_argument("--expected", type=Path, default=ROOT / "expected_output", metavar="DIR", help="and its mask")
    return parser


if __name__ == "__main__":
    sys.exit(main())
