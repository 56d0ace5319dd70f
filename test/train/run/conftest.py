"""What tests of runs have in common: a small data set, prepared once, and runs without further processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch
from blobs import write_blobs
from runs import NARROW

from swfastedit_core.train import __main__ as command
from swfastedit_core.train.data import survey
from swfastedit_core.train.store import case_store

USERS_OF_PROCESSES = (survey, case_store)
FIGURE = "matplotlib.figure.Figure.savefig"


def _in_turn(work, items, *, workers):
    """Do the work on one item after the other here; `map_isolated` starts processes, seconds each."""
    yield from ((place, work(item)) for place, item in enumerate(items))


def _save_dot(figure, path, **how):
    """Write a picture of one pixel: to plot takes as long as a short run."""
    matplotlib.image.imsave(path, np.zeros((1, 1, 3)), format="png")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Compute with one thread: with more, tiny networks take ten times as long if the processors are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def in_one_process(monkeypatch) -> None:
    """Survey and prepare cases in the process of the test."""
    for module in USERS_OF_PROCESSES:
        monkeypatch.setattr(module, "map_isolated", _in_turn)


@pytest.fixture
def without_pictures(monkeypatch) -> None:
    """Let runs write pictures of one pixel."""
    monkeypatch.setattr(FIGURE, _save_dot)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Write six patients to learn from."""
    return write_blobs(tmp_path_factory.mktemp("blobs"), 6)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, data) -> tuple[Path, Path]:
    """Prepare the six patients; return the store and the survey's findings, which a run takes from its folder."""
    top = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        for module in USERS_OF_PROCESSES:
            patch.setattr(module, "map_isolated", _in_turn)
        patch.setattr(FIGURE, _save_dot)
        arguments = ["--output", str(top / "run"), *NARROW, "--data", f"images:{data}", "--store", str(top / "store")]
        assert command.main([*arguments, "--steps", "1"]) == 0
    return top / "store", top / "run" / "survey.json"


@pytest.fixture
def options(data, prepared) -> list[str]:
    """Return what most runs of the training command have in common."""
    return [*NARROW, "--data", f"images:{data}", "--store", str(prepared[0])]


@pytest.fixture
def surveyed(prepared):
    """Return a function that makes the folder of a run that need not look at the six patients again."""

    def make(run: Path) -> Path:
        run.mkdir()
        shutil.copy(prepared[1], run)
        return run

    return make
