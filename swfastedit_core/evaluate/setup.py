"""What an evaluation of data sets needs: the cases and the networks."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swfastedit_core.challenge.given import require_limits
from swfastedit_core.challenge.network_options import DEFAULTS, NetworkOptions, network_options_of
from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.cohort import S, ScoredCase
from swfastedit_core.evaluate.pairs import name_some
from swfastedit_core.system.command import Parser, require_writable
from swfastedit_core.train.data.settings import DataSettings
from swfastedit_core.train.data.sources import Source

if TYPE_CHECKING:
    from swfastedit_core.engine.ensemble import Ensemble
    from swfastedit_core.evaluate.case_loop import Outcome
    from swfastedit_core.evaluate.named_sources import NamedSource

PROGRAM = "python -m swfastedit_core.evaluate"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The cases of data sets and the networks for them.

    Attributes
    ----------
    options, data
        What the command line says about the networks and the data.
    cases
        With their names.
    networks, described
        The networks, and what masks depend on.
    notes
        What holds for the whole cohort; it may grow.
    """

    options: NetworkOptions
    data: DataSettings
    cases: list[NamedSource]
    networks: Ensemble
    described: dict[str, Any]
    notes: list[str]

    def evaluated(self, outcome: Outcome[S]) -> list[ScoredCase[S]]:
        """Return the results that count: with --skip-bad those of cases whose data can be used; note the others."""
        return _without_unusable(outcome, self.notes) if self.data.skip_bad else outcome.results

    @property
    def segmentation(self) -> dict[str, Any]:
        """How the masks were made, for the summary."""
        return _describe(self.options, self.described, self.data)


def set_up(options: argparse.Namespace, *, folder: Path, clicks: str | None = None) -> Setup:
    """Check the options, find the cases and load the networks.

    Parameters
    ----------
    options
        From a parser with the options of data sets and the common ones.
    folder
        For the results of the cases.
    clicks
        Words of the command line that ask for networks that take clicks; None: automatic ones are wanted.

    Raises
    ------
    UserError
        If an option is wrong, there is no case, or the networks cannot be used.
    """
    networks_given = network_options(options)
    settings = _data_settings(options)
    require_writable(folder / "a case")
    if (masks := options.save_predictions) is not None:
        require_writable(masks / "a mask")
    logging.basicConfig(stream=sys.stdout, level=logging.ERROR if options.quiet else logging.INFO, format="%(message)s")
    from swfastedit_core.challenge.api_methods import load
    from swfastedit_core.evaluate.named_sources import name_sources
    from swfastedit_core.evaluate.stored_results import describe_networks

    notes: list[str] = []
    cases = name_sources(_sources(settings, notes), options.save_predictions)
    networks, _ = load(networks_given, interactive=clicks is not None, clicks=() if clicks is None else (Path(clicks),))
    return Setup(
        options=networks_given,
        data=settings,
        cases=cases,
        networks=networks,
        described=describe_networks(networks),
        notes=notes,
    )


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
