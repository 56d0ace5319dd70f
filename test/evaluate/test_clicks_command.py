"""``--clicks``: data sets are corrected and scored, and an interrupted evaluation goes on."""

from __future__ import annotations

import csv
import gc
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from blobs import GRID, write_blobs
from painting_session import PaintingSession
from program import CONFIG
from tiny_masks import run_evaluate

from swfastedit_core import read_volume, write_mask
from swfastedit_core.checkpoint import Channels, Checkpoint, write_checkpoint
from swfastedit_core.click_encodings import GradedBallEncoding
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.engine.ensemble import load_networks
from swfastedit_core.evaluate.clicks import command, correcting, files
from swfastedit_core.labels.masks import read_label_file
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.pipeline import segment
from swfastedit_core.volume import Volume


@pytest.fixture(scope="session")
def interactive(tmp_path_factory):
    """Write a small random network that takes clicks."""
    network = NetworkConfig("dynunet", (2,) * 6, in_channels=3)
    config = replace(CONFIG, network=network, channels=Channels.PET_CLICKS, clicks=GradedBallEncoding())
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "clicks.safetensors"
    write_checkpoint(Checkpoint(path, config, build_network(network).state_dict()), path)
    return path


@pytest.fixture
def data(tmp_path):
    return write_blobs(tmp_path / "d", 2)


@pytest.fixture
def evaluate(capfd, tmp_path, interactive, monkeypatch):
    """Return a function that runs the command: options in, exit code and streams out; without plots and page."""
    monkeypatch.setattr(files, "write_click_plots", lambda *_, **__: None)
    monkeypatch.setattr(files, "write_click_page", lambda *_, **__: None)

    def evaluate(protocol, *arguments, network=interactive, output=tmp_path / "o"):
        done = run_evaluate(capfd, "--clicks", protocol, "--weights", network, "--output", output, *arguments)
        gc.unfreeze()
        return done

    return evaluate


@pytest.fixture
def sessions(monkeypatch):
    """Let tests use sessions that paint instead of running the network; return the list of them."""
    made = []

    class Recorded(PaintingSession):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(correcting, "Session", Recorded)
    return made


def table(output):
    """Return clicks.csv by case: rows without the seconds."""
    found = {}
    with (output / "clicks.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            row.pop("seconds")
            found.setdefault(row.pop("case"), []).append(row)
    return found


def dices(output):
    return {case: [float(row["dice"]) for row in rows] for case, rows in table(output).items()}


def stored(output, case):
    return json.loads((output / f"clicks/{case}.json").read_text(encoding="utf-8"))["scores"]


def test_the_last_mask_is_that_of_all_clicks_at_once(evaluate, data, tmp_path, interactive):
    """With the session and the network: the clicks reach the voxels of the file that they were drawn at."""
    options = ("--overlap", "0", "--quiet", "--save-predictions", tmp_path / "p")
    done = evaluate("corrective", "--data", f"images:{data}", "--max-clicks", "3", *options)
    assert (done.returncode, done.stderr) == (0, "")
    pet = read_volume(data / "imagesTr/blob1.mha")
    label = read_label_file(data / "labelsTr/blob1.mha")[0].array_zyx != 0
    clicks = [
        Click(kind, tuple(voxel))
        for step in stored(tmp_path / "o", "blob1")["steps"]
        for kind, name in ((ClickKind.TUMOUR, "tumour"), (ClickKind.BACKGROUND, "background"))
        for voxel in step[name]
    ]
    assert len(clicks) == 3
    for click in clicks:
        x, y, z = click.position
        assert label[z, y, x] == (click.kind is ClickKind.TUMOUR)
    networks = load_networks(interactive)
    mask, _ = read_label_file(tmp_path / "p/blob1.mha")
    expected = segment(pet, networks, clicks=clicks, overlap=0.0).mask.array_zyx
    assert np.mean(mask.array_zyx != expected) <= 1e-3  # kept logits have half precision
    without = segment(pet, networks, overlap=0.0).mask.array_zyx
    assert np.mean(without != expected) > 1e-2


@pytest.mark.parametrize("protocol", ["autopet4", "autopet5", "corrective"])
def test_corrected_masks_get_better(evaluate, sessions, data, tmp_path, protocol):
    assert evaluate(protocol, "--data", f"images:{data}").returncode == 0
    steps = {"autopet4": 11, "autopet5": 6, "corrective": 21}[protocol]
    for curve in dices(tmp_path / "o").values():
        assert len(curve) == steps
        assert curve[0] < 0.9
    last = [curve[-1] - curve[0] for curve in dices(tmp_path / "o").values()]
    assert min(last) > (0 if protocol == "autopet4" else 0.1)  # its clicks do not follow the errors
    assert (tmp_path / "o/clicks.json").exists()


def test_corrections_end_when_the_mask_is_right(evaluate, sessions, data, tmp_path):
    assert evaluate("corrective", "--data", f"images:{data}", "--max-clicks", "40").returncode == 0
    for case, session in zip(("blob0", "blob1"), sessions, strict=True):
        clicks = [int(row["clicks"]) for row in table(tmp_path / "o")[case]]
        assert dices(tmp_path / "o")[case][-1] == 1.0
        assert len(clicks) == 41
        assert session.settled == clicks[-1] + 1 < 41


def test_options_reach_the_session_and_the_summary(evaluate, sessions, data, tmp_path):
    of_clicks = ("--max-clicks", "2", "--click-draw", "distance", "--strategy", "patch-corrective")
    options = ("--overlap", "0.5", "--region", "full", "--vote", "--min-lesion-ml", "2", "--session-memory-mb", "77")
    assert evaluate("corrective", "--data", f"images:{data}", *of_clicks, *options).returncode == 0
    wanted = {"overlap": 0.5, "full_grid": True, "majority": True, "min_lesion_ml": 2.0, "memory_mb": 77.0}
    assert {name: sessions[0].options[name] for name in wanted} == wanted
    values = json.loads((tmp_path / "o/clicks.json").read_text(encoding="utf-8"))
    assert (values["clicks"]["steps"], values["clicks"]["draw"]) == (2, "distance")
    assert values["clicks"]["strategy"] == "patch-corrective"
    assert (values["segmentation"]["overlap"], values["labels"]) == (0.5, f"images:{data}")


def test_an_interrupted_evaluation_goes_on_with_the_next_case(evaluate, sessions, data, tmp_path, monkeypatch):
    write_blobs(data, 3)

    def interrupt(line):
        if line.startswith("1 of 3 cases done; blob0: Dice "):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "say", interrupt)
        done = evaluate("autopet5", "--data", f"images:{data}")
    assert done.returncode == 130
    assert done.stderr == "interrupted; 1 of 3 cases are done; the same command goes on with the others\n"
    assert not (tmp_path / "o/clicks.csv").exists()
    del sessions[:]
    assert "1 of 3 cases are done already" in evaluate("autopet5", "--data", f"images:{data}").stdout
    assert len(sessions) == 2
    assert evaluate("autopet5", "--data", f"images:{data}", output=tmp_path / "at once").returncode == 0
    assert table(tmp_path / "o") == table(tmp_path / "at once")
    assert [rows[0]["drawn_by"] for rows in table(tmp_path / "o").values()] == ["centerline", "random", "boundary"]


@pytest.mark.long
def test_results_are_made_again_if_the_protocol_or_the_place_of_a_case_changes(evaluate, sessions, data, tmp_path):
    spec = ("--data", f"images:{data}")
    assert evaluate("autopet5", *spec).returncode == 0
    assert (evaluate("autopet5", *spec).returncode, len(sessions)) == (0, 2)  # nothing to do
    assert (evaluate("autopet4", *spec).returncode, len(sessions)) == (0, 4)
    assert (evaluate("corrective", *spec, "--max-clicks", "3").returncode, len(sessions)) == (0, 6)
    assert (evaluate("corrective", *spec, "--max-clicks", "2").returncode, len(sessions)) == (0, 8)
    uniform = ("--max-clicks", "2", "--click-draw", "uniform")
    assert (evaluate("corrective", *spec, *uniform).returncode, len(sessions)) == (0, 10)
    assert (evaluate("corrective", *spec, *uniform, "--session-memory-mb", "9").returncode, len(sessions)) == (0, 10)
    assert (evaluate("autopet5", *spec).returncode, len(sessions)) == (0, 12)
    (data / "imagesTr/blob0.mha").rename(data / "imagesTr/z.mha")
    (data / "labelsTr/blob0.mha").rename(data / "labelsTr/z.mha")
    done = evaluate("autopet5", *spec)
    assert "1 earlier results are not used" in done.stdout  # blob1 is the first case now: another kind of scribble
    assert len(sessions) == 14


def test_a_failed_step_of_autopet_5_scores_0_and_is_named(evaluate, sessions, data, tmp_path, monkeypatch):
    class Failing(PaintingSession):
        def settle(self, progress=None):
            if self.settled == 2:
                raise MemoryError
            return super().settle(progress)

    monkeypatch.setattr(correcting, "Session", Failing)
    done = evaluate("autopet5", "--data", f"images:{data}")
    assert done.returncode == 0
    assert "warning: blob0: 4 steps, the first of them step 2, failed (out of memory" in done.stdout
    rows = table(tmp_path / "o")["blob0"]
    assert [float(row["dice"]) > 0 for row in rows] == [True, True, False, False, False, False]
    assert [row["problem"].startswith("out of memory") for row in rows] == [False, False, True, True, True, True]
    monkeypatch.setattr(correcting, "Session", PaintingSession)
    assert evaluate("autopet5", "--data", f"images:{data}").returncode == 0  # failed steps are tried again
    assert min(min(curve) for curve in dices(tmp_path / "o").values()) > 0
    monkeypatch.setattr(correcting, "Session", Failing)
    done = evaluate("corrective", "--data", f"images:{data}")
    assert done.returncode == 1
    assert done.stderr.startswith("blob0: out of memory")


def test_a_bad_case_does_not_stop_the_others(evaluate, sessions, data, tmp_path):
    pet = data / "imagesTr/blob0.mha"
    pet.write_bytes(pet.read_bytes()[:-99])
    done = evaluate("autopet4", "--data", f"images:{data}")
    assert (done.returncode, done.stderr.splitlines()[1:]) == (
        1,
        ["no scores for 1 of 2 cases; the files hold the others"],
    )
    assert done.stderr.startswith(f"blob0: {pet}")
    assert evaluate("autopet4", "--data", f"images:{data}", "--skip-bad").returncode == 0
    assert list(table(tmp_path / "o")) == ["blob1"]


def test_an_empty_label_has_no_dice_but_its_false_positives_count(evaluate, sessions, data, tmp_path):
    empty = Volume(np.zeros(GRID.shape_zyx, np.uint8), GRID)
    write_mask(empty, data / "labelsTr/blob0.mha")
    for protocol, most in (("autopet4", (0, 10)), ("autopet5", (0, 0))):
        assert evaluate(protocol, "--data", f"images:{data}").returncode == 0
        rows = table(tmp_path / "o")["blob0"]
        assert {(row["dice"], row["fnv_ml"], row["dmm"]) for row in rows} == {("", "", "")}
        assert float(rows[0]["fpv_ml"]) > 0
        assert (int(rows[-1]["tumour_clicks"]), int(rows[-1]["background_clicks"])) == most
    assert evaluate("corrective", "--data", f"images:{data}").returncode == 0
    assert float(table(tmp_path / "o")["blob0"][-1]["fpv_ml"]) == 0


def test_phantoms_are_cases(evaluate, sessions, tmp_path, monkeypatch):
    from blobs import blob

    from swfastedit_core.phantom import Phantom

    monkeypatch.setattr("swfastedit_core.train.data.sources.make_phantom", lambda seed: Phantom(*blob(seed), ()))
    assert evaluate("autopet5", "--data", "phantom:2").returncode == 0
    assert list(table(tmp_path / "o")) == ["phantom_0_0000", "phantom_0_0001"]


@pytest.mark.long
def test_a_real_phantom(evaluate, tmp_path, interactive):
    one = ("--data", "phantom:1", "--overlap", "0", "--max-clicks", "2")
    assert evaluate("corrective", *one).returncode == 0
    assert len(table(tmp_path / "o")["phantom_0_0000"]) == 3


def test_networks_that_take_no_clicks_are_refused(evaluate, data, weights, tmp_path):
    done = evaluate("autopet4", "--data", f"images:{data}", network=weights / "1.safetensors")
    assert done.returncode == 1
    assert done.stderr == (
        f"--clicks autopet4: the networks take no clicks ({weights / '1.safetensors'}); name interactive weights with "
        "--weights\n"
    )


def test_other_files_are_not_replaced(evaluate, sessions, data, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o/clicks.csv").write_text("mine")
    done = evaluate("autopet4", "--data", f"images:{data}")
    assert "has clicks.csv, and not by this program" in done.stderr
    assert (tmp_path / "o/clicks.csv").read_text() == "mine"


ALL = ("--weights", "w", "--data", "images:d")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clicks", "autopet4"], "--clicks needs --weights and --data, too; see"),
        (["--clicks", "autopet4", "--weights", "w"], "--clicks needs --data, too"),
        (["--clicks", "autopet3", *ALL], "invalid choice: 'autopet3'"),
        (["--clicks", "autopet4", "--predictions", "p"], "--predictions and --clicks exclude each other"),
        (["--clicks", "autopet4", *ALL, "--workers", "2"], "--workers belongs to --predictions, and --clicks is given"),
        ([*ALL, "--max-clicks", "2"], "--max-clicks belongs to --clicks, and --weights is given"),
        (["--clicks", "autopet4", *ALL, "--max-clicks", "2"], "--max-clicks belongs to --clicks corrective, and"),
        (["--clicks", "autopet5", *ALL, "--click-draw", "uniform"], "--click-draw belongs to --clicks corrective"),
        (["--clicks", "corrective", *ALL, "--max-clicks", "0"], "--max-clicks 0: expected 1 to 1000"),
        (["--clicks", "corrective", *ALL, "--strategy", "deepgrow"], "--strategy deepgrow needs --click-draw uniform"),
        (["--clicks", "corrective", *ALL, "--session-memory-mb", "nan"], "--session-memory-mb nan: expected more"),
        (["--clicks", "corrective", *ALL, "--session-memory-mb", "-1"], "--session-memory-mb -1: expected more than 0"),
        (["--clicks", "autopet4", "--weights", "none", "--data", "phantom:1"], "none: no such file or folder"),
    ],
)
def test_wrong_options_are_refused_in_one_line(capfd, tmp_path, arguments, words):
    done = run_evaluate(capfd, "--output", tmp_path / "o", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
