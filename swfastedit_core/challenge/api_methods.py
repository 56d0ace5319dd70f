"""The platform's two methods: exec (segment, then exit) and invoke (load once, segment at each call)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from swfastedit_core.challenge.case import Case, segment_case
from swfastedit_core.challenge.case_clicks import add_clicks
from swfastedit_core.challenge.case_record import CaseRecord
from swfastedit_core.challenge.cases import add_cts, find_cases, require_memory
from swfastedit_core.challenge.console import progress_bar
from swfastedit_core.challenge.interface import write_data_centric
from swfastedit_core.challenge.network_options import NetworkOptions
from swfastedit_core.challenge.options import Options
from swfastedit_core.errors import UserError
from swfastedit_core.system.command import say
from swfastedit_core.system.garbage import collection_paused
from swfastedit_core.system.limits import memory_is_limited
from swfastedit_core.system.processors import limit_threads

if TYPE_CHECKING:
    import socket

    from swfastedit_core.challenge.case_sessions import CaseSessions
    from swfastedit_core.engine.ensemble import Ensemble


def execute(options: Options) -> None:
    """Segment the scans in the platform's folder."""
    cases = find_cases(options)  # files are checked before the networks are loaded
    networks, seconds = load(options, interactive=options.interactive)
    segment_cases(cases, networks, options, before=seconds)


def invoke(options: Options, *, listening: socket.socket | None, stderr: TextIO) -> None:
    """Load the networks, then segment the scan in the input folder at every call over HTTP.

    Parameters
    ----------
    options
        With the host and the port to listen on.
    listening
        Socket of the port; None to open it here.
    stderr
        Stream for the reasons of failures; one line for each.
    """
    from swfastedit_core.challenge.port import open_port
    from swfastedit_core.challenge.server import serve

    listening = listening or open_port(options.host, options.port)

    def load_and_warm_up() -> Callable[[], list[dict[str, Any]]]:
        networks, seconds = load(options, interactive=options.interactive)
        from swfastedit_core.pipeline import warm_up
        from swfastedit_core.system.stopwatch import seconds_since_start

        warm_up(networks)
        sessions = _sessions(networks, options)
        say(f"ready on port {options.port} after {seconds_since_start():.1f} s")
        return lambda: [
            record.to_json()
            for record in segment_cases(find_cases(options), networks, options, before=seconds, sessions=sessions)
        ]

    serve(load_and_warm_up, listening=listening, stderr=stderr)


def refuse_calls(error: UserError, *, listening: socket.socket, stderr: TextIO) -> None:
    """Answer every call over HTTP with the reason why the program cannot start.

    Parameters
    ----------
    error
        The reason.
    listening
        Socket of the port.
    stderr
        As for `invoke`.
    """
    from swfastedit_core.challenge.server import serve

    def fail() -> NoReturn:
        raise error

    serve(fail, listening=listening, stderr=stderr)


def load(
    options: NetworkOptions, *, interactive: bool = False, clicks: Sequence[Path] = ()
) -> tuple[Ensemble, dict[str, float]]:
    """Load the networks; return them, and the seconds that the start of the program and the loading took.

    Parameters
    ----------
    options
        Which networks, and how they run.
    interactive
        Whether there may be clicks; see `load_networks`.
    clicks
        Files of clicks that the user names: networks of which none takes clicks are refused before they are loaded.
    """
    with collection_paused():
        from swfastedit_core.challenge.weights import default_weights, home_of_weights, require_clicks_taken
        from swfastedit_core.engine.ensemble import load_networks
        from swfastedit_core.system.stopwatch import seconds_since_start

        limit_threads()
    started, begin = seconds_since_start(), time.perf_counter()
    paths = options.weights or [default_weights(home_of_weights())]
    if clicks:
        require_clicks_taken(paths, clicks[0])
    networks = load_networks(
        *paths,
        device=options.device,
        precision=options.precision,
        engine=options.engine,
        window_batch=options.window_batch,
        interactive=interactive,
    )
    if memory_is_limited():  # OpenVINO waits for ever if it cannot start a thread while it compiles
        networks.wait()
    if not options.quiet:
        for notice in _notices(networks):
            say(f"notice: {notice}")
    return networks, {"start": started, "load": time.perf_counter() - begin}


def _sessions(networks: Ensemble, options: Options) -> CaseSessions | None:
    """Return what is kept between calls; None: nothing."""
    if not options.session_memory_mb:
        return None
    if not networks.takes_clicks:
        if not options.quiet:
            say("notice: --session-memory-mb is not used, the networks take no clicks")
        return None
    from swfastedit_core.challenge.case_sessions import CaseSessions

    return CaseSessions(networks, options.case, memory_mb=options.session_memory_mb)


def _notices(networks: Ensemble) -> list[str]:
    demonstration = ["these are demonstration weights, not for patients"] if networks.demonstration else []
    return [*networks.notices, *networks.warnings, *demonstration]


def segment_cases(
    cases: Sequence[Case],
    networks: Ensemble,
    options: Options,
    *,
    before: dict[str, float],
    sessions: CaseSessions | None = None,
) -> list[CaseRecord]:
    """Segment scan after scan; print and return the record of each. The first failure ends it.

    Parameters
    ----------
    before
        Seconds of the stages before the first case; each record starts with them.
    sessions
        As for `segment_case`.
    """
    records = []
    cases = add_clicks(add_cts(list(cases), networks, options), networks, options)
    require_memory(cases, networks, options, release=None if sessions is None else sessions.clear)
    for case in cases:
        name = str(case.mask.relative_to(options.output)) if options.pets else case.pet.name
        with progress_bar(name, quiet=options.quiet) as progress:
            record = segment_case(
                case,
                networks,
                options.case,
                progress=progress,
                warn=None if options.quiet else _say_warning,
                sessions=sessions,
            )
        records.append(replace(record, seconds=before | record.seconds))
        if options.pets and not options.quiet:
            say(f"the mask is {record.output}")
            if record.report is not None:
                from swfastedit_core.report.files import PAGE

                say(f"the report is {record.report / PAGE}")
        say(json.dumps(records[-1].to_json(), ensure_ascii=False))
    if options.data_centric is not None:
        write_data_centric(options.output, value=options.data_centric)
    return records


def _say_warning(message: str) -> None:
    say(f"warning: {message}")  # on standard output: for the platform, text on standard error is a failure
