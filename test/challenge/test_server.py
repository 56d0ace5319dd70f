"""The real program as a server, called over HTTP as the platform does."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from places import ROOT
from served import Served, free_port

from swfastedit_core.challenge import server as server_module
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.engine.openvino_engine import OpenVinoEngine
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.report.files import FILES

MASKS = Path("images/automated-petct-lesion-segmentation")
CONFIG = CheckpointConfig(NetworkConfig("dynunet", (2,) * 6), Preprocessing((4.0, 4.0, 4.0)), window=(32, 32, 32))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "1.safetensors"
    write_checkpoint(Checkpoint(path, CONFIG, build_network(CONFIG.network).state_dict()), path)
    return path


@pytest.fixture
def serve(tmp_path, weights):
    started = []

    def start(*options, weights=weights):
        started.append(Served(tmp_path / str(len(started)), *options, weights=weights))
        return started[-1]

    yield start
    for server in started:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory, weights):
    """Start one server for all calls that need none of their own; each test puts its own scan in place."""
    served = Served(tmp_path_factory.mktemp("served"), weights=weights)
    served.ready()
    yield served
    served.process.kill()
    served.process.communicate()


def random_scan(seed, shape=(20, 24, 28)):
    return np.random.default_rng(seed).random(shape)


def test_calls_with_changing_inputs_and_a_bad_one_between(serve):
    server = serve()
    assert server.ready() <= {0, 503, 200}
    sizes = []
    for seed, shape in ((1, (20, 24, 28)), (2, (31, 17, 9))):
        server.put(random_scan(seed, shape), name=f"{seed}.mha")
        status, answer = server.ask("/invoke", "POST")
        (report,) = answer["reports"]
        assert status == 201
        assert report["output"] == str(server.output / MASKS / f"{seed}.mha")
        mask = sitk.GetArrayFromImage(sitk.ReadImage(report["output"]))
        assert mask.shape == shape
        assert mask.sum() == report["lesion_voxels"]
        assert sorted(path.name for path in server.output.rglob("*.mha")) == [f"{seed}.mha"]
        sizes.append(int(mask.sum()))
        if seed == 1:
            bad = server.input / "images/pet/1.mha"
            bad.write_bytes(bad.read_bytes()[:200])
            status, answer = server.ask("/invoke", "POST")
            assert status == 422
            detail = answer["detail"]
    assert len(set(sizes)) == 2
    code, out, err, seconds = server.stop()
    assert detail == f"{bad}: the header cannot be read as an image (it has no end); is the file damaged?"
    assert (code, err) == (0, f"{detail}\n")
    assert seconds < 3
    assert [json.loads(line)["lesion_voxels"] for line in out.splitlines() if line.startswith("{")] == sizes


@pytest.mark.long
def test_each_call_writes_a_report_if_reports_are_wanted(serve, tmp_path):
    server = serve("--report", tmp_path / "reports")
    server.ready()
    for seed in (1, 2):
        server.put(random_scan(seed), name="case.mha")
        status, answer = server.ask("/invoke", "POST")
        (record,) = answer["reports"]
        assert (status, record["report"]) == (201, str(tmp_path / "reports/case"))
        figures = json.loads((tmp_path / "reports/case/report.json").read_text())
        assert sum(lesion["voxels"] for lesion in figures["lesions"]) == record["lesion_voxels"] > 0
        assert sorted(path.name for path in (tmp_path / "reports/case").iterdir()) == sorted(FILES)
    assert server.stop()[:1] == (0,)


def test_each_call_reads_its_own_ct(serve, tmp_path):
    network = NetworkConfig("dynunet", (2,) * 6, in_channels=2)
    config = replace(CONFIG, network=network, channels=Channels.PET_CT)
    torch.manual_seed(1)
    write_checkpoint(Checkpoint(tmp_path, config, build_network(network).state_dict()), tmp_path / "both.safetensors")
    server = serve(weights=tmp_path / "both.safetensors")
    server.ready()
    server.put(random_scan(1))
    status, answer = server.ask("/invoke", "POST")
    assert status == 422
    assert answer["detail"].startswith(f"{server.input / 'images/ct'}: no such folder, expected the CT")
    (server.input / "images/ct").mkdir()
    masks = []
    for hu in (-1000.0, 500.0):
        ct = sitk.GetImageFromArray(np.full((20, 24, 28), -1000.0, np.float32))
        ct[4:20, 4:20, 4:16] = hu
        ct.SetSpacing((4.0, 4.0, 4.0))
        sitk.WriteImage(ct, str(server.input / "images/ct" / "ct.mha"))
        status, answer = server.ask("/invoke", "POST")
        (report,) = answer["reports"]
        assert (status, report["ct"]) == (201, str(server.input / "images/ct/ct.mha"))
        masks.append(sitk.GetArrayFromImage(sitk.ReadImage(report["output"])))
    assert np.count_nonzero(masks[0] != masks[1]) > 100


def test_sigterm_ends_a_call_at_once_and_leaves_nothing(serve):
    server = serve("--region", "full", "--overlap", "0.95")
    server.ready()
    server.put(random_scan(4, (100, 100, 100)))
    call = threading.Thread(target=server.ask, args=("/invoke", "POST"))
    call.start()
    for line in server.process.stdout:
        if "windows" in line:
            break
    code, _, err, seconds = server.stop()
    call.join()
    assert (code, err) == (143, "ended by SIGTERM\n")
    assert seconds < 3
    assert not list(server.output.rglob("*.mha"))


def test_server_is_ready_once_every_network_has_run_a_window(run, tmp_path, weights, monkeypatch):
    """What prepares the program's server is called here, and its networks count the windows that they run."""
    windows, ready = [], []
    stream = OpenVinoEngine.stream

    def counted(engine, images):
        for logits in stream(engine, images):
            windows.append(engine.source)
            yield logits

    monkeypatch.setattr(OpenVinoEngine, "stream", counted)

    def serve(prepare, *, listening, **_):
        listening.close()
        ready.append((prepare(), len(windows)))

    monkeypatch.setattr(server_module, "serve", serve)
    second = shutil.copy(weights, tmp_path / "2.safetensors")
    options = ("--api-method", "invoke", "--port", free_port(), "--device", "cpu", "--engine", "openvino")
    done = run(*options, "--weights", weights, "--weights", second)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(windows) == {str(weights), str(second)}
    assert ready[0][1] == len(windows) > 0
    assert "ready on port" in done.stdout


def test_call_with_two_scans_is_refused(server):
    server.put(random_scan(1), name="a.mha")
    folder = server.input / "images/pet"
    shutil.copy(folder / "a.mha", folder / "b.mha")
    status, answer = server.ask("/invoke", "POST")
    reason = f"{server.input}: 2 scans (a.mha, b.mha), expected one scan a call"
    assert (status, answer) == (422, {"detail": reason})
    assert list(server.output.rglob("*.mha")) == []


def test_call_with_a_large_body_is_answered_as_any_other(server):
    server.put(random_scan(1))
    status, answer = server.ask("/invoke", "POST", bytes(100_000_000))
    assert (status, len(answer["reports"])) == (201, 1)


def test_other_requests_are_refused(server):
    server.clear()
    assert server.ask("/elsewhere")[0] == 404
    assert server.ask("/invoke", "GET")[0] == 405
    assert server.ask("/health", "POST")[0] == 405
    assert server.ask("/invoke", "POST") == (
        422,
        {"detail": f"{server.input / 'images/pet'}: found nothing, expected one .mha file"},
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "bad.safetensors: not a readable .safetensors file"),
        (("--device", "cuda:77"), "cuda:77"),
    ],
)
def test_server_that_cannot_start_stays_and_answers_each_call_with_the_reason(serve, tmp_path, options, reason):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    server = serve(*options, weights=tmp_path / "bad.safetensors")
    server.ready()
    calls = [server.ask("/invoke", "POST") for _ in range(2)]
    code, out, err, _ = server.stop()
    detail = calls[0][1]["detail"]
    assert reason in detail
    assert calls == [(500, {"detail": detail})] * 2
    assert (code, err) == (0, f"{detail}\n" * 3)  # at the start, and for each call
    assert out.endswith("stopped\n")
    assert "Traceback" not in out


def test_wrong_option_of_an_image_is_the_reason_of_calls(tmp_path):
    port = free_port()
    image = {"SWFASTEDIT_OPTIONS": f"--api-method invoke --port {port} --overlap 2"}
    with subprocess.Popen(
        [sys.executable, ROOT / "process.py"],
        **{"env": {**os.environ, **image}, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True},
    ) as process:
        for _ in range(100):
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20).close()
                break
            time.sleep(0.1)
        request = urllib.request.Request(f"http://127.0.0.1:{port}/invoke", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(request, timeout=20)
        process.terminate()
        err = process.stderr.read()
    reason = "SWFASTEDIT_OPTIONS: --overlap 2.0, expected 0 or more and less than 1; see process.py --help"
    assert (refusal.value.code, json.load(refusal.value)) == (500, {"detail": reason})
    assert err == f"{reason}\n" * 2


def test_missing_package_is_the_reason_of_calls(serve, tmp_path, weights, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise ModuleNotFoundError('none', name='openvino')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = serve("--engine", "openvino", weights=weights)
    server.ready()
    status, answer = server.ask("/invoke", "POST")
    assert (status, "'openvino' is missing" in answer["detail"]) == (500, True), answer


def test_sigterm_during_the_start_ends_the_program_at_once(serve):
    server = serve()
    while server.ask("/nothing")[0] == 0:  # answered as soon as the server thread runs
        time.sleep(0.005)
    held = threading.Thread(target=server.ask, args=("/health",))
    held.start()
    code, out, err, seconds = server.stop()
    held.join(10)
    assert (code, err) in ((143, "ended by SIGTERM\n"), (0, ""))  # 0 if the start has ended just before
    assert "Traceback" not in out
    assert seconds < 3


def listens(server, host):
    with socket.socket() as caller:
        return caller.connect_ex((host, server.port)) == 0


@pytest.mark.parametrize(
    ("options", "host", "other"),
    [((), "127.0.0.1", "127.0.0.2"), (("--host", "127.0.0.2"), "127.0.0.2", "127.0.0.1")],
)
def test_port_of_the_host_is_open_before_the_slow_imports(serve, tmp_path, weights, monkeypatch, options, host, other):
    (tmp_path / "uvicorn.py").write_text("import time; time.sleep(600)\n")  # an import that never ends
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = serve(*options, weights=weights)
    for _ in range(3000):
        if listens(server, host):
            break
        time.sleep(0.02)
    else:
        pytest.fail("nobody listens")
    assert not listens(server, other)  # not on all addresses


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", r"\(Address already in use\); is the program running already\?"),
        ("192.0.2.1", r"\(Cannot assign requested address\); expected --host with an address of this machine"),
        ("no.such.host.invalid", r"\(.+\); expected --host with an address of this machine"),
    ],
)
def test_port_that_cannot_be_opened_ends_the_program(run, host, reason):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--api-method", "invoke", "--port", port, "--host", host)
    assert done.returncode == 1
    assert re.fullmatch(rf"port {port} of {host} cannot be opened {reason}.*\n", done.stderr)
    assert "Traceback" not in done.stdout
