"""``--weights … --data …``: segment and score data sets, as training reads them."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TextIO

from swfastedit_core.challenge.network_options import NetworkOptions, add_network_options, network_options_of
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import Scoring
from swfastedit_core.evaluate.pairs import name_some
from swfastedit_core.evaluate.results import FILES, Evaluation, write_evaluation
from swfastedit_core.system.command import Parser, path_argument, require_writable, say
from swfastedit_core.train.arguments import add_settings
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import Source

FIELDS = ("specs", "fold", "split_file", "skip_bad", "pet_channel", "ct_channel", "patient")  # of DataSettings


def add_data_set_options(parser: Parser) -> None:
    """Add the options of the data and of the networks. Those that are not given have no attribute."""
    data = parser.add_argument_group("weights and data sets: segment every case as process.py does, then score it")
    data.add_argument(
        "--weights",
        type=path_argument,
        nargs="+",
        action="extend",
        metavar="PATH",
        help="checkpoints or folders of checkpoints; several are an ensemble",
    )
    add_settings(data, DataSettings, only=FIELDS, only_given=True)
    data.add_argument("--seed", type=int, metavar="N", help="seed of phantoms (default: 0)")
    data.add_argument(
        "--save-predictions", type=path_argument, metavar="DIR", help="write the masks there, by the names of the cases"
    )
    data.add_argument(
        "--overwrite",
        action="store_true",
        help="let masks replace files that this program did not write (default: only its own masks)",
    )
    add_network_options(data)
    _suppress_defaults(data)


def data_set_flags() -> tuple[str, ...]:
    """Return the options of `add_data_set_options`."""
    parser = Parser(add_help=False)
    add_data_set_options(parser)
    return tuple(action.option_strings[0] for action in parser._actions)


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
    from swfastedit_core.evaluate.segmenting import Segmenting, evaluate_cases, name_sources
    from swfastedit_core.evaluate.stored_results import FOLDER, StoredResults, describe_networks

    notes: list[str] = []
    cases = name_sources(_sources(settings, notes), getattr(options, "save_predictions", None))
    networks, _ = load(networks_given)
    described = describe_networks(networks)
    stored = StoredResults(
        options.output / FOLDER,
        networks=described,
        options=networks_given.case,
        scoring=scoring,
        with_ct=networks.ct_network is not None,
    )
    how = Segmenting(
        options=networks_given.case,
        scoring=scoring,
        predictions=getattr(options, "save_predictions", None),
        overwrite=getattr(options, "overwrite", False),
        quiet=options.quiet,
    )
    outcome = evaluate_cases(cases, networks, how, stored=stored, say=say)
    results = outcome.results
    if settings.skip_bad and outcome.unusable:
        results = [result for result in results if result.case not in outcome.unusable]
        notes.append(
            f"{len(outcome.unusable)} of {len(cases)} cases cannot be used and are left out (--skip-bad): "
            f"{name_some(outcome.unusable)}"
        )
        if not results:
            raise UserError(f"none of {len(cases)} cases can be used: {outcome.results[0].problem}")
    evaluation = Evaluation(
        labels=" ".join(settings.specs),
        predictions=", ".join(map(str, networks_given.weights)),
        scoring=scoring,
        results=tuple(results),
        notes=(*networks.warnings, *notes),
        segmentation=_describe(networks_given, described, settings),
    )
    write_evaluation(evaluation, options.output, say=say, stderr=stderr)


def network_options(options: argparse.Namespace) -> NetworkOptions:
    """Return which networks run and how; options that are not given have the defaults of process.py.

    Raises
    ------
    UserError
        If a value is beyond its limits.
    """
    from swfastedit_core.challenge.given import require_limits

    parser = Parser(prog="python -m swfastedit_core.evaluate", add_help=False)
    add_network_options(parser)
    merged = {**vars(parser.parse_args([])), **vars(options)}
    require_limits(parser, merged)
    return NetworkOptions(**network_options_of(argparse.Namespace(**merged)))


def _suppress_defaults(group: argparse._ArgumentGroup) -> None:
    for action in group._group_actions:
        action.default = argparse.SUPPRESS


def _data_settings(options: argparse.Namespace) -> DataSettings:
    from swfastedit_core.train.options import data_settings_of

    split = getattr(options, "split", None)
    if split is not None and not split.is_file():
        raise UserError(f"--split {split}: no such file")
    lesions = tuple(options.lesion_labels or ())
    return replace(data_settings_of(options), lesion_labels=lesions, geometry=options.geometry)


def _prepare_output(options: argparse.Namespace) -> None:
    from swfastedit_core.evaluate.stored_results import FOLDER

    require_writable(options.output / FOLDER / "a case")
    if (masks := getattr(options, "save_predictions", None)) is not None:
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
