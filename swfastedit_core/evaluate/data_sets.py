"""``--weights … --data …``: segment and score data sets, as training reads them."""

from __future__ import annotations

import argparse
from typing import TextIO

from swfastedit_core.challenge.network_options import add_network_options
from swfastedit_core.evaluate.cohort import Scoring
from swfastedit_core.evaluate.results import Evaluation, write_evaluation
from swfastedit_core.evaluate.setup import set_up
from swfastedit_core.system.command import Parser, path_argument, say
from swfastedit_core.train.arguments import add_settings
from swfastedit_core.train.data.settings import DataSettings

OTHERS = "another evaluation writes cases"
FIELDS = ("specs", "fold", "split_file", "skip_bad", "pet_channel", "ct_channel", "patient")  # of DataSettings
MEANINGS = {
    "fold": "only the validation set of this fold: the patients that a training with the same --fold holds out",
    "split_file": "only the validation set of this JSON file, such as split.json of a training; with nnU-Net's "
    "splits_final.json, --fold chooses one of its folds",
    "skip_bad": "leave out cases whose files cannot be used; without it they are named, and the exit code is 1",
}


def add_data_set_options(parser: Parser) -> None:
    """Add the options of the data and of the networks; those that are not given are None."""
    data = parser.add_argument_group("weights and data sets: segment every case as process.py does, then score it")
    data.add_argument(
        "--weights",
        type=path_argument,
        nargs="+",
        action="extend",
        metavar="PATH",
        help="checkpoints or folders of checkpoints; several are an ensemble",
    )
    add_settings(data, DataSettings, only=FIELDS, only_given=True, meanings=MEANINGS)
    data.add_argument("--seed", type=int, metavar="N", help="seed of phantoms (default: 0)")
    data.add_argument(
        "--save-predictions", type=path_argument, metavar="DIR", help="write the masks there, by the names of the cases"
    )
    data.add_argument(
        "--overwrite",
        action="store_true",
        default=None,
        help="let masks replace files that this program did not write (default: only its own masks)",
    )
    add_network_options(data, only_given=True)


def data_set_flags() -> tuple[str, ...]:
    """Return the options of `add_data_set_options`."""
    parser = Parser(add_help=False)
    add_data_set_options(parser)
    return tuple(f"--{name.replace('_', '-')}" for name in vars(parser.parse_args([])))


def score_data_sets(options: argparse.Namespace, scoring: Scoring, *, stderr: TextIO) -> None:
    """Segment and score every case of the data sets, and write the results.

    Parameters
    ----------
    options
        From a parser with these options and the common ones.
    scoring
        How masks are scored.
    stderr
        Stream for the reasons of cases that fail; one line for each.

    Raises
    ------
    UserError
        If an option is wrong, there is no case, or a case has no scores.
    """
    from swfastedit_core.evaluate.stored_results import FOLDER

    setup = set_up(options, folder=options.output / FOLDER)
    from swfastedit_core.evaluate.segmenting import Segmenting, evaluate_cases
    from swfastedit_core.evaluate.stored_results import SCORES, StoredResults
    from swfastedit_core.train.store.folder_lock import locked_folder

    stored = StoredResults(
        options.output / FOLDER,
        networks=setup.described,
        options=setup.options.case,
        scoring=scoring,
        with_ct=setup.networks.ct_network is not None,
        kind=SCORES,
    )
    how = Segmenting(
        options=setup.options.case,
        scoring=scoring,
        overwrite=bool(options.overwrite),
        quiet=options.quiet,
    )
    with locked_folder(options.output / FOLDER, say=say, others=OTHERS):
        outcome = evaluate_cases(setup.cases, setup.networks, how, stored=stored, say=say)
        results = setup.evaluated(outcome)
        evaluation = Evaluation(
            labels=" ".join(setup.data.specs),
            predictions=", ".join(map(str, setup.options.weights)),
            scoring=scoring,
            results=tuple(results),
            notes=(*setup.networks.warnings, *setup.notes),
            segmentation=setup.segmentation,
        )
        write_evaluation(evaluation, options.output, say=say, stderr=stderr)
