"""The table of a trial: run everything, one row after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trial.cases import Case
from trial.checks import CREATED, Expected, check_image, check_outcome
from trial.containers import Engine, Outcome
from trial.image import Check, Image
from trial.limits import REPORTS, Folders, Limits, check_limits, temporary_folders
from trial.output import ExpectedFiles
from trial.server import Server, start_server

PROBE = (Path(__file__).parent / "probe.py").read_text()
SOCKETS = {
    "autopet2": Path("images/automated-petct-lesion-segmentation"),
    "autopet4": Path("images/tumor-lesion-segmentation"),
}
OUTPUT = Path("/output")
CALLS = ("test/input", "truncated PET", "left-handed PET")  # in this order, by one server
SIGTERM_CODES = (0, 143)
SIGTERM_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    name
        What was checked: the image, the limits, or method and case.
    checks
        The checks, failed or not.
    seconds, peak_bytes
        Wall time and peak memory; None where there is none.
    remark
        Further findings in words.
    mask
        Content of the file of the mask; None without exactly one.
    record
        The last JSON object on standard output; None without one.
    """

    name: str
    checks: Sequence[Check]
    seconds: float | None = None
    peak_bytes: int | None = None
    remark: str = ""
    mask: bytes | None = None
    record: dict[str, Any] | None = None


MoreRows = Callable[["Trial", Sequence[str]], Iterator[Row]]


@dataclass(frozen=True)
class Trial:
    """A trial of an image on cases, by an engine under limits.

    Attributes
    ----------
    model
        Tarball with weights, as for a model upload; None leaves out the rows that need one.
    engine_changes
        Changes that the engine itself makes in every container, as it lists them.
    """

    engine: Engine
    image: Image
    limits: Limits
    cases: Sequence[Case]
    model: Path | None = None
    engine_changes: frozenset[str] = frozenset()

    def rows(self, methods: Sequence[str], *, more: MoreRows | None = None) -> Iterator[Row]:
        """Run the trial with these API methods; yield each row when it is done, at the end those of `more`."""
        probe = self._run_probe()
        yield from self._image_and_limits_rows(probe)
        trial = replace(self, engine_changes=probe.changes)
        if "exec" in methods:
            yield from trial._exec_rows()
        if "invoke" in methods:
            yield from trial._invoke_rows()
        if more is not None:
            yield from more(trial, methods)

    def _run_probe(self) -> Outcome:
        """Run `probe` in a container of the image."""
        with temporary_folders() as folders:
            outcome = self.engine.run(self.image, folders, self.limits, ("python", "-c", PROBE))
            self._empty(folders)
        return outcome

    def _image_and_limits_rows(self, probe: Outcome) -> Iterator[Row]:
        """Check the image, and that the limits hold in a container."""
        if probe.code != 0:
            yield Row("image", [Check("image has Python with torch", False, probe.last_line or f"{probe.code}")])
            return
        found = json.loads(probe.stdout)
        limits = found.pop("limits")
        checks = check_image(self.image, **found)
        remark = "; ".join(f"{check.name.removeprefix('image ')} {check.found}" for check in checks[:3])
        yield Row("image", checks, remark=remark)
        yield Row("limits", check_limits(limits, self.limits), remark=str(self.limits))

    def _exec_rows(self) -> Iterator[Row]:
        """Run each case in a container of its own."""
        for case in self.cases:
            yield self.exec_row(case)
        valid = [case for case in self.cases if case.valid]
        if valid and self.model is not None:
            yield self.exec_row(valid[0], name="model tarball", model=self.model)
            sockets = ("--task", "autopet4", "--data-centric", "true", "--report", "/output/reports")
            yield self.exec_row(valid[0], name="autoPET IV sockets, report", extra=sockets)

    def exec_row(self, case: Case, *, name: str = "", extra: Sequence[str] = (), model: Path | None = None) -> Row:
        """Run a case in a container of its own.

        Parameters
        ----------
        case
            The case.
        name
            For the table; empty: the name of the case.
        extra
            Options after those of the image.
        model
            Tarball with weights, as for a model upload.
        """
        with temporary_folders() as folders:
            pet = case.write_readable(folders.input)
            if model is not None:
                folders.unpack_model(model)
            program = self.image.program([*self._method("exec"), *extra])
            outcome = self.engine.run(self.image, folders, self.limits, program)
            checks = check_outcome(outcome, self.limits, self._expected(case, pet, extra, outcome), folders.output)
            if model is not None and case.valid and outcome.code is not None:
                used = b"/opt/ml/model/" in outcome.stdout
                checks.append(Check("mounted model used", used, "the log names no file in /opt/ml/model"))
            mask = _read_mask(folders.output)
            self._empty(folders)
        remark = ", ".join([_times(outcome), *(f"Dice {c.found}" for c in checks if c.name.startswith("Dice"))])
        return Row(
            f"exec: {name or case.name}",
            checks,
            outcome.seconds,
            outcome.peak_bytes,
            remark.strip(", "),
            mask,
            _read_record(outcome),
        )

    def _invoke_rows(self) -> Iterator[Row]:
        """Start one server and call it for several cases."""
        yield from self.call_rows([case for name in CALLS for case in self.cases if case.name == name])

    def call_rows(
        self, cases: Sequence[Case], *, extra: Sequence[str] = (), model: Path | None = None
    ) -> Iterator[Row]:
        """Start one server, call it for one case after the other, end it.

        Parameters
        ----------
        cases
            The cases.
        extra, model
            As for `exec_row`.
        """
        program = self.image.program([*self._method("invoke"), *extra])
        with temporary_folders() as folders:
            if model is not None:
                folders.unpack_model(model)
            with start_server(self.engine, self.image, folders, self.limits, program) as server:
                health = server.wait_until_healthy()
                yield _health_row(health)
                for case in cases if health.code == 200 else ():
                    if server.exit_code is None:
                        yield self._call_row(server, case, folders, extra)
                if server.exit_code is None:
                    yield _sigterm_row(server)
            self._empty(folders)

    def _call_row(self, server: Server, case: Case, folders: Folders, extra: Sequence[str]) -> Row:
        pet = case.write_readable(folders.input)
        outcome = server.invoke()
        expected = self._expected(case, pet, extra, outcome, success=CREATED)
        checks = check_outcome(outcome, self.limits, expected, folders.output)
        mask = _read_mask(folders.output)
        self.engine.empty_folders(self.image, folders, "/output")  # the server keeps its files in /tmp
        folders.clear_input()
        name = f"invoke: {case.name}"
        return Row(name, checks, outcome.seconds, outcome.peak_bytes, mask=mask, record=_read_record(outcome))

    def _empty(self, folders: Folders) -> None:
        self.engine.empty_folders(self.image, folders, "/output", "/tmp", REPORTS)

    def _method(self, name: str) -> list[str]:
        """Return the arguments that choose an API method; none for the image's own."""
        return [] if self.image.api_method == name else ["--api-method", name]

    def _expected(self, case: Case, pet: Path, extra: Sequence[str], outcome: Outcome, *, success: int = 0) -> Expected:
        task = self.image.option("--task", *extra) or "autopet2"
        data_centric = self.image.option("--data-centric", *extra)
        reports = Path(self.image.option("--report", *extra) or "/tmp")
        # The expected mask is that of automatic networks, which are used without the task.
        clicked = task == "autopet4" and "clicks" in (_read_record(outcome) or {})
        files = ExpectedFiles(
            socket=SOCKETS.get(task, SOCKETS["autopet2"]),  # the container refuses an unknown task
            mask_folder=None if clicked else case.expected,
            json_values=() if data_centric is None else (("data-centric-model.json", data_centric == "true"),),
            report=reports.relative_to(OUTPUT) / pet.stem if reports.is_relative_to(OUTPUT) else None,
        )
        return Expected(pet if case.valid else None, files, success, self.engine_changes)


def _read_mask(output: Path) -> bytes | None:
    files = list(output.rglob("*.mha"))
    return files[0].read_bytes() if len(files) == 1 else None


def _read_record(outcome: Outcome) -> dict[str, Any] | None:
    lines = [line for _, line in outcome.lines if line.startswith(b"{")]
    try:
        record = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _health_row(health: Outcome) -> Row:
    answer = health.answer.decode(errors="replace")
    found = f"{health.code} {answer}"
    if health.server_exit_code is not None:
        found = f"the server ended with exit code {health.server_exit_code}; {health.last_line}"
    return Row("invoke: health", [Check("health 200", health.code == 200, found)], health.seconds)


def _sigterm_row(server: Server) -> Row:
    outcome = server.stop()
    passed = outcome.code in SIGTERM_CODES and outcome.seconds < SIGTERM_SECONDS
    found = "still running" if outcome.code is None else f"exit code {outcome.code}"
    found = f"{found} after {outcome.seconds:.1f} s, expected 0 or 143 within {SIGTERM_SECONDS:g} s"
    check = Check("SIGTERM ends the server", passed, found)
    return Row("invoke: SIGTERM", [check], outcome.seconds)


def _times(outcome: Outcome) -> str:
    """Return the times of the first window and of the mask, since the creation of the container."""
    first = next((seconds for seconds, line in outcome.lines if line.endswith(b"windows\n")), None)
    mask = next((seconds for seconds, line in outcome.lines if line.startswith(b'{"output"')), None)
    return "" if first is None or mask is None else f"first window {first:.1f} s, mask {mask:.1f} s"
