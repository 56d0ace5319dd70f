"""--session-memory-mb: what invoke keeps between calls on a scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from interactive_networks import click_file, write_interactive_network
from program import assert_failed, reports, scan
from served import free_port

from swfastedit_core import Geometry, UserError, Volume, load_networks, read_label, segment
from swfastedit_core.challenge import server as server_module
from swfastedit_core.challenge.case import CaseOptions
from swfastedit_core.challenge.case_sessions import CaseSessions
from swfastedit_core.challenge.cases import require_memory_for
from swfastedit_core.clicks import Click, ClickKind
from swfastedit_core.errors import DataWarning
from swfastedit_core.interactive.session import Session
from swfastedit_core.metrics.overlap import agreement_dice
from swfastedit_core.system import memory

GRID = Geometry((48, 32, 32), (4.0, 4.0, 4.0))  # two windows, which begin at 0 and 16
OPTIONS = CaseOptions(overlap=0.5)
CLICKS = [Click(ClickKind.TUMOUR, (3, 20, 15)), Click(ClickKind.BACKGROUND, (44, 30, 12))]  # one in each window


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_interactive_network(tmp_path_factory.mktemp("weights") / "interactive.safetensors")


@pytest.fixture(scope="module")
def networks(weights):
    return load_networks(weights, device="cpu", precision="float32", window_batch=1)


def random_pet(seed=0, grid=GRID):
    return Volume(np.random.default_rng(seed).uniform(0.0, 6.0, grid.shape_zyx).astype(np.float32), grid)


def test_further_call_on_a_scan_runs_the_windows_that_its_clicks_change(networks):
    sessions = CaseSessions(networks, OPTIONS, memory_mb=500)
    windows = []
    for clicks in ([], CLICKS[:1], CLICKS, CLICKS, []):
        seen = []
        found = sessions.segment(
            random_pet(), ct=None, clicks=clicks, progress=lambda done, total, seen=seen: seen.append((done, total))
        )
        expected = segment(random_pet(), networks, clicks=clicks, overlap=0.5)
        assert agreement_dice(found.mask.array_zyx, expected.mask.array_zyx) >= 0.999
        assert found.mask.geometry == GRID
        assert found.lesion_voxels == found.mask.array_zyx.sum() > 0
        assert found.lesion_ml == pytest.approx(found.lesion_voxels * 0.064)
        assert found.windows_full_grid == expected.windows_full_grid
        assert seen[-1:] == ([(found.windows, found.windows)] if found.windows else [])
        windows.append(found.windows)
    assert expected.windows == 2
    assert windows == [2, 1, 1, 0, 0]


def test_scan_with_other_voxels_or_geometry_has_a_session_of_its_own(networks):
    sessions = CaseSessions(networks, OPTIONS, memory_mb=500)
    moved = replace(GRID, origin_mm=(1.0, 0.0, 0.0))
    first = sessions.segment(random_pet(), ct=None, clicks=(), progress=None)
    for pet in (random_pet(1), random_pet(0, moved)):
        other = sessions.segment(pet, ct=None, clicks=(), progress=None)
        assert other.windows == first.windows
        assert other.mask.geometry == pet.geometry
    assert sessions.segment(random_pet(), ct=None, clicks=(), progress=None).windows == 0


def test_warnings_about_a_scan_come_at_each_call(networks):
    sessions = CaseSessions(networks, OPTIONS, memory_mb=500)
    pet = np.zeros(GRID.shape_zyx, np.float32)
    pet[5:30, 5:30, 5:25] = 1.0
    pet[20, 20, 40] = 50.0  # a hot voxel apart from the body
    for _ in range(2):
        with pytest.warns(DataWarning, match="single hot voxel"):
            sessions.segment(Volume(pet, GRID), ct=None, clicks=(), progress=None)


def test_nothing_is_kept_of_a_call_that_fails(networks, monkeypatch):
    sessions = CaseSessions(networks, OPTIONS, memory_mb=500)
    first = sessions.segment(random_pet(), ct=None, clicks=(), progress=None)

    def fail(*_):
        raise UserError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "settle", fail)
        with pytest.raises(UserError, match="out of memory"):
            sessions.segment(random_pet(), ct=None, clicks=(), progress=None)
    assert sessions.segment(random_pet(), ct=None, clicks=(), progress=None).windows == first.windows


def test_kept_scans_are_released_if_their_memory_is_needed(networks, monkeypatch):
    sessions = CaseSessions(networks, OPTIONS, memory_mb=500)
    first = sessions.segment(random_pet(), ct=None, clicks=(), progress=None)
    free = iter([1, 10**12])  # bytes, before and after
    monkeypatch.setattr(memory, "usable_memory_bytes", lambda: next(free))
    require_memory_for(GRID, networks, source="scan.mha", release=sessions.clear)
    assert sessions.segment(random_pet(), ct=None, clicks=(), progress=None).windows == first.windows
    monkeypatch.setattr(memory, "usable_memory_bytes", lambda: 1)
    with pytest.raises(UserError, match=r"scan\.mha: out of memory"):
        require_memory_for(GRID, networks, source="scan.mha", release=sessions.clear)


@pytest.fixture
def call(run, tmp_path, monkeypatch):
    """Return a function that starts the program as a server, calls it with growing clicks, and returns the records."""

    def call(*options, steps=3):
        records = []

        def serve(prepare, *, listening, **_):
            listening.close()
            segment_case = prepare()
            for step in range(steps):
                click_file(tmp_path / "lesion-clicks.json", tumor=[(0, 0, 0), (39, 35, 29)][:step])
                records.extend(segment_case())
                records[-1]["mask"] = read_label(records[-1]["output"]).array_zyx

        monkeypatch.setattr(server_module, "serve", serve)
        (tmp_path / "images/pet").mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(scan(), str(tmp_path / "images/pet/1.mha"))
        folders = ("--input", tmp_path, "--output", tmp_path / "out", "--task", "autopet4", "--device", "cpu")
        method = ("--api-method", "invoke", "--port", free_port(), "--window-batch", "1")
        done = run(*folders, *method, *options)
        assert len(reports(done)) == steps
        return records, done.stdout

    return call


def test_server_keeps_sessions_only_if_it_gets_memory_for_them(call, weights):
    options = ("--weights", weights, "--region", "full")
    kept, _ = call(*options, "--session-memory-mb", "500")
    full, _ = call(*options)
    assert [record["windows"] for record in full] == [8, 8, 8]
    assert kept[0]["windows"] == 8
    assert all(0 < record["windows"] < 8 for record in kept[1:])  # a corner is in few windows
    for one, other in zip(kept, full, strict=True):
        assert agreement_dice(one["mask"], other["mask"]) >= 0.999
        assert one["clicks"] == other["clicks"]
    assert [record["clicks"]["tumor"] for record in kept] == [0, 1, 2]


def test_automatic_networks_need_no_sessions(call, narrow_checkpoint):
    _, out = call("--weights", narrow_checkpoint, "--session-memory-mb", "500", steps=0)
    assert "notice: --session-memory-mb is not used, the networks take no clicks\n" in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--session-memory-mb", "9"], "--session-memory-mb belongs to --api-method invoke: exec segments once"),
        (["--session-memory-mb", "-1", "--api-method", "invoke"], "--session-memory-mb -1.0, expected 0 or more"),
        (["--session-memory-mb", "nan", "--api-method", "invoke"], "--session-memory-mb nan, expected 0 or more"),
        (["--session-memory-mb", "9", "scan.mha"], "--session-memory-mb belongs to --api-method invoke"),
    ],
)
def test_memory_for_sessions_is_for_calls(options, reason, run):
    assert_failed(run(*options), reason)
