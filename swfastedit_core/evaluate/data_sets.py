"""``--weights … --data …``: segment and score data sets, as training reads them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from swfastedit_core.challenge.given import require_limits
from swfastedit_core.challenge.network_options import DEFAULTS, NetworkOptions, add_network_options, network_options_of
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import S, ScoredCase, Scoring
from swfastedit_core.evaluate.pairs import name_some
from swfastedit_core.evaluate.results import Evaluation, write_evaluation
from swfastedit_core.system.command import Parser, path_argument, require_writable, say
from swfastedit_core.train.arguments import add_settings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import Source

if TYPE_CHECKING:
    from swfastedit_core.evaluate.case_loop import Outcome

PROGRAM = "python -m swfastedit_core.evaluate"
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
    networks_given = network_options(options)
    settings = _data_settings(options)
    _prepare_output(options)
    logging.basicConfig(stream=sys.stdout, level=logging.ERROR if options.quiet else logging.INFO, format="%(message)s")
    from swfastedit_core.challenge.api_methods import load
    from swfastedit_core.evaluate.case_loop import name_sources
    from swfastedit_core.evaluate.segmenting import Segmenting, evaluate_cases
    from swfastedit_core.evaluate.stored_results import FOLDER, SCORES, StoredResults, describe_networks
    from swfastedit_core.train.store.folder_lock import locked_folder

    notes: list[str] = []
    cases = name_sources(_sources(settings, notes), options.save_predictions)
    networks, _ = load(networks_given)
    described = describe_networks(networks)
    stored = StoredResults(
        options.output / FOLDER,
        networks=described,
        options=networks_given.case,
        scoring=scoring,
        with_ct=networks.ct_network is not None,
        kind=SCORES,
    )
    how = Segmenting(
        options=networks_given.case,
        scoring=scoring,
        overwrite=bool(options.overwrite),
        quiet=options.quiet,
    )
    with locked_folder(options.output / FOLDER, say=say, others="another evaluation writes cases"):
        outcome = evaluate_cases(cases, networks, how, stored=stored, say=say)
        results = _without_unusable(outcome, notes) if settings.skip_bad else outcome.results
        evaluation = Evaluation(
            labels=" ".join(settings.specs),
            predictions=", ".join(map(str, networks_given.weights)),
            scoring=scoring,
            results=tuple(results),
            notes=(*networks.warnings, *notes),
            segmentation=_describe(networks_given, described, settings),
        )
        write_evaluation(evaluation, options.output, say=say, stderr=stderr)


def _without_unusable(outcome: Outcome[S], notes: list[str]) -> list[ScoredCase[S]]:
    """Leave out the cases whose data cannot be used, and note them."""
    results = [result for result in outcome.results if result.case not in outcome.unusable]
    if not results:
        raise UserError(f"none of {len(outcome.results)} cases can be used: {outcome.results[0].problem}")
    if outcome.unusable:
        notes.append(
            f"{len(outcome.unusable)} of {len(outcome.results)} cases cannot be used and are left out (--skip-bad): "
            f"{name_some(outcome.unusable)}"
        )
    return results


def network_options(options: argparse.Namespace) -> NetworkOptions:
    """Return which networks run and how; options that are not given have the defaults of process.py.

    Raises
    ------
    UserError
        If a value is beyond its limits.
    """
    require_limits(Parser(prog=PROGRAM), vars(options))
    return NetworkOptions(**network_options_of(argparse.Namespace(**{**DEFAULTS, **_given(options)})))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if value is not None}


def _data_settings(options: argparse.Namespace) -> DataSettings:
    from swfastedit_core.train.options import data_settings_of

    if repeated := next((spec for spec in options.data if options.data.count(spec) > 1), None):
        raise UserError(f"--data names {repeated} twice, expected each data set once")
    if options.split is not None and not options.split.is_file():
        raise UserError(f"--split {options.split}: no such file")
    return data_settings_of(argparse.Namespace(**_given(options)))


def _prepare_output(options: argparse.Namespace) -> None:
    from swfastedit_core.evaluate.stored_results import FOLDER

    require_writable(options.output / FOLDER / "a case")
    if (masks := options.save_predictions) is not None:
        require_writable(masks / "a mask")


def _sources(data: DataSettings, notes: list[str]) -> Sequence[Source]:
    """Return the cases to evaluate: the validation set of a fold or split, else all."""
    from swfastedit_core.train.data.splits import split
    from swfastedit_core.train.store.training_data import find_all_sources

    sources = find_all_sources(data, remark=notes.append)
    if data.fold is None and data.split_file is None:
        return sources
    return split(sources, fold=data.fold, split_file=data.split_file)[1]


def _describe(networks: NetworkOptions, described: dict[str, Any], data: DataSettings) -> dict[str, Any]:
    """Return how the masks were made, for ``metrics.json``."""
    from swfastedit_core.train.data.splits import name_of_split

    case = networks.case
    return {
        "weights": [str(path) for path in networks.weights],
        **{name: value for name, value in described.items() if name != "configurations"},
        "region": "full" if case.full_grid else "body",
        "overlap": case.overlap,
        "vote": case.majority,
        "min_lesion_ml": case.min_lesion_ml,
        "split": name_of_split(fold=data.fold, split_file=data.split_file) or None,
    }
