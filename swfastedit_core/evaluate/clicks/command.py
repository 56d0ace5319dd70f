"""``--clicks …``: segment data sets, let a simulated annotator correct the masks, and score each step."""

from __future__ import annotations

import argparse
from typing import Literal, TextIO

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.protocols import AutoPet4, AutoPet5, ClickProtocol, Corrective, Placing
from swfastedit_core.evaluate.cohort import Scoring
from swfastedit_core.evaluate.data_sets import OTHERS
from swfastedit_core.evaluate.modes import flag_of
from swfastedit_core.evaluate.setup import set_up
from swfastedit_core.interactive.session import MEMORY_MB
from swfastedit_core.interactive.simulate.draw import DRAWS
from swfastedit_core.interactive.simulate.strategies import STRATEGIES
from swfastedit_core.system.command import Parser, say

PROTOCOLS = (AutoPet4.name, AutoPet5.name, Corrective.name)
DEEPEST: Literal["deepest"] = "deepest"
MAX_CLICKS = 20  # as in the literature on NoC
FOLDER = "clicks"  # of the results of the cases
OF_CORRECTIVE = ("max_clicks", "click_draw", "strategy")


def add_click_options(parser: Parser) -> None:
    """Add the options; those that are not given are None."""
    clicks = parser.add_argument_group("clicks: with --weights and --data, correct every mask step by step")
    clicks.add_argument(
        "--clicks",
        choices=PROTOCOLS,
        help="autopet4: fixed clicks, 0 to 10 of each kind; autopet5: 0 to 5 scribbles, each on the largest error; "
        "corrective: clicks in the errors, until the mask is right",
    )
    clicks.add_argument(
        "--max-clicks",
        type=int,
        metavar="N",
        help=f"rounds of --clicks corrective at most, with one click each, or up to one of each kind (default: "
        f"{MAX_CLICKS})",
    )
    clicks.add_argument(
        "--click-draw",
        choices=(DEEPEST, *DRAWS),
        help="where --clicks corrective clicks: deepest, one click at the deepest voxel of the errors; uniform or "
        f"distance, a random voxel, up to one click of each kind (default: {DEEPEST})",
    )
    clicks.add_argument(
        "--strategy",
        choices=tuple(STRATEGIES),
        help="regions in which --click-draw uniform and distance click (default: corrective)",
    )
    clicks.add_argument(
        "--session-memory-mb",
        type=float,
        metavar="MB",
        help=f"memory for what a click need not compute again; less is slower (default: {MEMORY_MB:g})",
    )


def click_flags() -> tuple[str, ...]:
    """Return the options of `add_click_options`."""
    parser = Parser(add_help=False)
    add_click_options(parser)
    return tuple(map(flag_of, vars(parser.parse_args([]))))


def protocol_of(options: argparse.Namespace) -> ClickProtocol:
    """Return the protocol that the options ask for.

    Raises
    ------
    UserError
        If an option is wrong or does not belong to the protocol.
    """
    if options.clicks != Corrective.name:
        for name in OF_CORRECTIVE:
            if getattr(options, name) is not None:
                given = f"--clicks {options.clicks}"
                raise UserError(f"{flag_of(name)} belongs to --clicks corrective, and {given} is given")
        return AutoPet4() if options.clicks == AutoPet4.name else AutoPet5()
    rounds = MAX_CLICKS if options.max_clicks is None else options.max_clicks
    if not 1 <= rounds <= 1000:
        raise UserError(f"--max-clicks {rounds}: expected 1 to 1000")
    draw: Placing = options.click_draw or DEEPEST
    strategy = options.strategy or "corrective"
    if draw == DEEPEST and options.strategy not in (None, "corrective"):
        raise UserError(f"--strategy {strategy} needs --click-draw uniform or distance")
    return Corrective(last_step=rounds, placing=draw, strategy=strategy)


def score_clicks(options: argparse.Namespace, scoring: Scoring, *, stderr: TextIO) -> None:
    """Let a simulated annotator correct every case of the data sets, and write the results.

    Parameters
    ----------
    options
        From a parser with these options, those of data sets and the common ones.
    scoring
        How masks are scored.
    stderr
        Stream for the reasons of cases that fail; one line for each.

    Raises
    ------
    UserError
        If an option is wrong, the networks take no clicks, there is no case, or a case has no scores.
    """
    protocol = protocol_of(options)
    memory_mb = MEMORY_MB if options.session_memory_mb is None else options.session_memory_mb
    if not memory_mb > 0:
        raise UserError(f"--session-memory-mb {memory_mb:g}: expected more than 0")
    setup = set_up(options, folder=options.output / FOLDER, clicks=f"--clicks {options.clicks}")
    from swfastedit_core.evaluate.clicks.correcting import Correcting, correct_cases
    from swfastedit_core.evaluate.clicks.curve import CURVES
    from swfastedit_core.evaluate.clicks.files import ClickEvaluation, write_click_evaluation
    from swfastedit_core.evaluate.stored_results import StoredResults
    from swfastedit_core.train.store.folder_lock import locked_folder

    stored = StoredResults(
        options.output / FOLDER,
        networks=setup.described,
        options=setup.options.case,
        scoring=scoring,
        with_ct=setup.networks.ct_network is not None,
        kind=CURVES,
    )
    how = Correcting(
        protocol=protocol,
        options=setup.options.case,
        scoring=scoring,
        memory_mb=memory_mb,
        overwrite=bool(options.overwrite),
        quiet=options.quiet,
    )
    with locked_folder(options.output / FOLDER, say=say, others=OTHERS):
        outcome = correct_cases(setup.cases, setup.networks, how, stored=stored, say=say)
        results = setup.evaluated(outcome)
        evaluation = ClickEvaluation(
            labels=" ".join(setup.data.specs),
            predictions=", ".join(map(str, setup.options.weights)),
            scoring=scoring,
            protocol=protocol.settings(),
            segmentation=setup.segmentation,
            results=tuple(results),
            notes=(*setup.networks.warnings, *setup.notes),
        )
        write_click_evaluation(evaluation, options.output, say=say, stderr=stderr)
