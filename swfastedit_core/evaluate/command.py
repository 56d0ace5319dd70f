"""The command line of the evaluation."""

from __future__ import annotations

import argparse
import math
from importlib import import_module
from pathlib import Path
from typing import TextIO

from swfastedit_core.errors import UserError
from swfastedit_core.evaluate.clicks.command import add_click_options, click_flags, score_clicks
from swfastedit_core.evaluate.cohort import CaseResult, Scoring, score_cases
from swfastedit_core.evaluate.data_sets import add_data_set_options, data_set_flags, score_data_sets
from swfastedit_core.evaluate.modes import Mode, choose_mode, flag_of
from swfastedit_core.evaluate.pairs import Pairing, find_pairs, name_some
from swfastedit_core.evaluate.results import Evaluation, require_output, write_evaluation
from swfastedit_core.evaluate.setup import PROGRAM
from swfastedit_core.metrics.overlap_scores import RULES
from swfastedit_core.metrics.scores import TOLERANCE_MM
from swfastedit_core.system.command import Parser, Stopped, path_argument, say
from swfastedit_core.system.processors import limit_threads

DESCRIPTION = """Score masks against labels, or compare two sets of masks.

--predictions DIR --labels DIR   score masks
--weights PATH --data SPEC       segment data sets as process.py does, and score the masks; if it is interrupted, the
                                 same command goes on
--clicks … --weights … --data …  segment data sets, then correct each mask with simulated clicks, and score every step
--compare A B                    compare two sets of masks, or the results of two evaluations, case by case

The first two write metrics.csv (a row for each case), metrics.json (means, medians, intervals), metrics.png and
metrics.html. --clicks writes clicks.csv (a row for each step of each case), clicks.json, clicks.png and clicks.html.
docs/evaluation.md says what each metric is.
"""
NEEDED = ("grand_challenge_metrics", "matplotlib")  # of the extra `train`; a missing one is named before the work


def run(arguments: list[str], *, stderr: TextIO) -> None:
    """Run a command line; cases that fail have a line on `stderr` each.

    Raises
    ------
    UserError
        If an option is wrong, a file cannot be written, or a case cannot be scored.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    mode = choose_mode(options, MODES, parser)
    _check(options)
    for package in NEEDED:
        import_module(package)
    limit_threads()
    mode.run(options, stderr)


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    masks = parser.add_argument_group("masks and labels")
    masks.add_argument(
        "--predictions",
        type=path_argument,
        metavar="DIR",
        help="masks to score (.mha, .nii, .nii.gz, .nrrd), also in folders below; or one file",
    )
    masks.add_argument(
        "--labels", type=path_argument, metavar="DIR", help="labels with the same names, with or without _0000"
    )
    masks.add_argument(
        "--skip-unpaired",
        action="store_true",
        default=None,
        help="leave out cases that only one of the two folders has; without it they are refused",
    )
    masks.add_argument(
        "--prediction-labels",
        type=int,
        nargs="+",
        metavar="V",
        help="values of the predictions that are lesions (default: those of --lesion-labels)",
    )
    masks.add_argument(
        "--resample",
        action="store_true",
        default=None,
        help="bring a prediction on another grid to the label's; without it such a case is refused",
    )
    add_data_set_options(parser)
    add_click_options(parser)
    comparison = parser.add_argument_group("two sets of masks on the same labels")
    comparison.add_argument(
        "--compare",
        type=path_argument,
        nargs=2,
        metavar=("A", "B"),
        help="folders with the results of evaluations, or of masks, which need --labels; writes compare.csv, "
        "compare.json, compare.png and compare.html",
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    """Add the options of every mode."""
    common = parser.add_argument_group("scores and output")
    common.add_argument("--output", type=path_argument, required=True, metavar="DIR", help="folder for the results")
    common.add_argument(
        "--rules",
        choices=RULES,
        default=Scoring.rules,
        help="challenge whose rules hold for a label without lesions: by autopet2 Dice and FNV are 0, by the others "
        "they are not defined (default: %(default)s)",
    )
    common.add_argument(
        "--tolerance-mm",
        type=float,
        default=TOLERANCE_MM,
        metavar="MM",
        help="tolerance of the surface Dice (default: %(default)s)",
    )
    common.add_argument(
        "--lesion-labels", type=int, nargs="+", metavar="V", help="label values that are lesions (default: all above 0)"
    )
    common.add_argument(
        "--geometry",
        default=Scoring.form,
        choices=["auto", "qform", "sform"],
        help="coordinates of NIfTI files: auto takes the sform if there is one, and refuses a file whose qform "
        "contradicts it (default: %(default)s)",
    )
    common.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that score cases; 0: none but this one (default: by the size of the cases, processors and free "
        "memory)",
    )
    common.add_argument("--quiet", action="store_true", help="print no progress")


def _check(options: argparse.Namespace) -> None:
    if not (math.isfinite(options.tolerance_mm) and options.tolerance_mm >= 0):
        raise UserError(f"--tolerance-mm {options.tolerance_mm:g}: expected 0 or more, in mm")
    if options.workers is not None and options.workers < 0:
        raise UserError(f"--workers {options.workers}: expected 0 or more")
    for name in ("lesion_labels", "prediction_labels"):
        if 0 in (getattr(options, name) or ()):
            raise UserError(f"{flag_of(name)} 0: is the background, expected the values of lesions")


def scoring_of(options: argparse.Namespace) -> Scoring:
    """Return how the options ask masks to be read and scored."""
    lesions = tuple(options.lesion_labels or ())
    return Scoring(
        rules=options.rules,
        tolerance_mm=options.tolerance_mm,
        lesion_labels=lesions,
        prediction_labels=tuple(options.prediction_labels or lesions),
        form=options.geometry,
        resample=bool(options.resample),
    )


def _score_predictions(options: argparse.Namespace, stderr: TextIO) -> None:
    require_output(options.output)
    scoring = scoring_of(options)
    pairing = find_pairs(
        options.labels, options.predictions, skip_unpaired=bool(options.skip_unpaired), output=options.output
    )
    notes = _notes(pairing)
    for note in notes:
        say(f"warning: {note}")
    results = score_with_progress(pairing, scoring, workers=options.workers, quiet=options.quiet)
    evaluation = Evaluation(
        labels=str(options.labels),
        predictions=str(options.predictions),
        scoring=scoring,
        results=tuple(results),
        notes=notes,
    )
    write_evaluation(evaluation, options.output, say=say, stderr=stderr)


def score_with_progress(pairing: Pairing, scoring: Scoring, *, workers: int | None, quiet: bool) -> list[CaseResult]:
    """Score pairs with a progress bar; say at once which case cannot be scored."""
    from swfastedit_core.challenge.console import progress_bar

    done, total = 0, len(pairing.pairs)
    try:
        with progress_bar("scored", quiet=quiet, unit="case") as move:

            def count(_: CaseResult) -> None:
                nonlocal done
                done += 1
                if move:
                    move(done, total)

            return score_cases(pairing.pairs, scoring, workers=workers, progress=count)
    except (KeyboardInterrupt, Stopped) as stopped:
        stopped.add_note(f"{done} of {total} cases were scored, and no file was written")
        raise


def _notes(pairing: Pairing) -> tuple[str, ...]:
    alone = {"labels have no prediction": pairing.labels_alone, "predictions have no label": pairing.predictions_alone}
    return tuple(
        f"{len(names)} {what} and are left out (--skip-unpaired): {name_some(names)}"
        for what, names in alone.items()
        if names
    )


def _score_data_sets(options: argparse.Namespace, stderr: TextIO) -> None:
    require_output(options.output)
    score_data_sets(options, scoring_of(options), stderr=stderr)


def _score_clicks(options: argparse.Namespace, stderr: TextIO) -> None:
    from swfastedit_core.evaluate.clicks.files import FILES

    require_output(options.output, FILES)
    score_clicks(options, scoring_of(options), stderr=stderr)


def _compare(options: argparse.Namespace, _: TextIO) -> None:
    from swfastedit_core.evaluate.comparison.compare import compare_sides, read_side
    from swfastedit_core.evaluate.comparison.files import FILES, write_comparison

    require_output(options.output, FILES)
    if options.compare[0].resolve() == options.compare[1].resolve():
        raise UserError(f"--compare {options.compare[0]}: is both A and B, expected two different folders")
    scoring, skip = scoring_of(options), bool(options.skip_unpaired)

    def score(masks: Path) -> list[CaseResult]:
        if options.labels is None:
            raise UserError(f"--compare {masks}: holds no results of an evaluation; score its masks with --labels DIR")
        pairing = find_pairs(options.labels, masks, skip_unpaired=skip, output=options.output)
        return score_with_progress(pairing, scoring, workers=options.workers, quiet=options.quiet)

    a, b = (read_side(path, score, scoring) for path in options.compare)
    write_comparison(compare_sides(a, b, skip_unpaired=skip), options.output, say=say)


OF_MASKS = ("--skip-unpaired", "--prediction-labels", "--resample", "--workers")
MODES = (
    Mode("--predictions", ("--labels",), OF_MASKS, _score_predictions),
    Mode("--weights", ("--data",), data_set_flags(), _score_data_sets),
    Mode("--clicks", ("--weights", "--data"), (*data_set_flags(), *click_flags()), _score_clicks),
    Mode("--compare", (), ("--labels", *OF_MASKS), _compare),
)
