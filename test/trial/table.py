"""The table's rows: what is looked at, started and called, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from trial.cases import Case
from trial.checks import CREATED, Wanted, judge_image, judge_outcome
from trial.containers import Engine, Outcome
from trial.image import Check, Image
from trial.limits import NOTES, Folders, Limits, judge_limits, temporary_folders
from trial.server import Server, served

INSIDE = (Path(__file__).parent / "probe.py").read_text()
SOCKETS = {
    "autopet2": Path("images/automated-petct-lesion-segmentation"),
    "autopet4": Path("images/tumor-lesion-segmentation"),
}
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
    """An image, the cases, and where it is run.

    Attributes
    ----------
    model
        Tarball with weights, as it is uploaded; None leaves out the rows that need one.
    changes
        What the engine itself changes in a container, as its diff lists it.
    """

    engine: Engine
    image: Image
    limits: Limits
    cases: Sequence[Case]
    model: Path | None = None
    changes: frozenset[str] = frozenset()

    def rows(self, methods: Sequence[str]) -> Iterator[Row]:
        """Do everything."""
        probed = self._probe()
        yield from self._first_rows(probed)
        informed = replace(self, changes=probed.changes)
        if "exec" in methods:
            yield from informed._exec_rows()
        if "invoke" in methods:
            yield from informed._invoke_rows()

    def _probe(self) -> Outcome:
        """Start a container that looks around and does nothing else."""
        with temporary_folders() as folders:
            outcome = self.engine.run(self.image, folders, self.limits, ("python", "-c", INSIDE))
            self._empty(folders)
        return outcome

    def _first_rows(self, probed: Outcome) -> Iterator[Row]:
        """Judge the image, and the limits under which the other rows run it."""
        if probed.code != 0:
            yield Row("image", [Check("image has Python with torch", False, probed.last_line or f"{probed.code}")])
            return
        told = json.loads(probed.stdout)
        checks = judge_image(self.image, cuda=told["cuda"], architectures=told["architectures"], uid=told["uid"])
        remark = "; ".join(f"{check.name.removeprefix('image ')} {check.found}" for check in checks[:3])
        yield Row("image", checks, remark=remark)
        yield Row("limits", judge_limits(told["limits"], self.limits), remark=str(self.limits))

    def _exec_rows(self) -> Iterator[Row]:
        """Run each case from a container's start to its end."""
        for case in self.cases:
            yield self._exec_row(case)
        usable = [case for case in self.cases if case.usable]
        if usable and self.model is not None:
            yield self._exec_row(usable[0], name="model tarball", model=self.model)
            sockets = ("--task", "autopet4", "--data-centric", "true")
            yield self._exec_row(usable[0], name="autoPET IV sockets", extra=sockets)

    def _exec_row(self, case: Case, *, name: str = "", extra: Sequence[str] = (), model: Path | None = None) -> Row:
        with temporary_folders() as folders:
            pet = case.put(folders.case)
            if model is not None:
                folders.unpack_model(model)
            program = self.image.program([*self._method("exec"), *extra])
            outcome = self.engine.run(self.image, folders, self.limits, program)
            checks = judge_outcome(outcome, self.limits, self._wanted(case, pet, extra, 0), folders.output)
            if model is not None and outcome.code is not None:
                used = b"/opt/ml/model/" in outcome.stdout
                checks.append(Check("mounted model used", used, "no file of /opt/ml/model in the log"))
            self._empty(folders)
        remark = ", ".join([_moments(outcome), *(f"Dice {c.found}" for c in checks if c.name.startswith("Dice"))])
        return Row(f"exec: {name or case.name}", checks, outcome.seconds, outcome.peak_bytes, remark.strip(", "))

    def _invoke_rows(self) -> Iterator[Row]:
        """Call one server again and again, with the contents of its folders changing."""
        called = [case for name in CALLED for case in self.cases if case.name == name]
        program = self.image.program(self._method("invoke"))
        with temporary_folders() as folders:
            with served(self.engine, self.image, folders, self.limits, program) as server:
                health = server.healthy()
                yield _health_row(health)
                for case in called if health.code == 200 else ():
                    if server.ended is None:
                        yield self._call_row(server, case, folders)
                if server.ended is None:
                    yield _stop_row(server)
            self._empty(folders)

    def _call_row(self, server: Server, case: Case, folders: Folders) -> Row:
        pet = case.put(folders.case)
        outcome = server.call()
        checks = judge_outcome(outcome, self.limits, self._wanted(case, pet, (), CREATED), folders.output)
        self.engine.empty(self.image, folders, "/output")  # /tmp is the server's own as long as it lives
        folders.clear_case()
        return Row(f"invoke: {case.name}", checks, outcome.seconds, outcome.peak_bytes)

    def _empty(self, folders: Folders) -> None:
        self.engine.empty(self.image, folders, "/output", "/tmp", NOTES)

    def _method(self, name: str) -> list[str]:
        """Return the arguments that make the image speak an API method, none where it does by itself."""
        return [] if self.image.api_method == name else ["--api-method", name]

    def _wanted(self, case: Case, pet: Path, extra: Sequence[str], success: int) -> Wanted:
        options = [*self.image.options, *extra]
        task = _value(options, "--task") or "autopet2"
        data_centric = _value(options, "--data-centric")
        values = () if data_centric is None else (("data-centric-model.json", data_centric == "true"),)
        socket = SOCKETS.get(task, SOCKETS["autopet2"])  # an unknown one is the container's to refuse
        return Wanted(pet if case.usable else None, socket, success, case.expected, values, self.changes)


def _health_row(health: Outcome) -> Row:
    answer = health.answer.decode(errors="replace")
    found = f"{health.code} {answer}" if health.ended is None else f"it ended with {health.ended}; {health.last_line}"
    return Row("invoke: health", [Check("health 200", health.code == 200, found)], health.seconds)


def _stop_row(server: Server) -> Row:
    outcome = server.stop()
    prompt = outcome.code in STOPPED and outcome.seconds < PROMPT_SECONDS
    found = "still running" if outcome.code is None else f"exit code {outcome.code}"
    found = f"{found} after {outcome.seconds:.1f} s, expected 0 or 143 within {PROMPT_SECONDS:g} s"
    check = Check("SIGTERM ends it at once", prompt, found)
    return Row("invoke: SIGTERM", [check], outcome.seconds)


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
