"""The real program as a server, called over HTTP as the platform does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from places import ROOT
from program import stopped

from swfastedit_core.challenge import server as server_module
from swfastedit_core.checkpoint import Channels, Checkpoint, CheckpointConfig, write_checkpoint
from swfastedit_core.engine.openvino_engine import OpenVinoEngine
from swfastedit_core.model import NetworkConfig, build_network
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.system.command import Stopped, run_command

MASKS = Path("images/automated-petct-lesion-segmentation")
CONFIG = CheckpointConfig(NetworkConfig("dynunet", (2,) * 6), Preprocessing((4.0, 4.0, 4.0)), window=(32, 32, 32))


class Served:
    """A running server, its folders, and the ways to talk to it."""

    def __init__(self, top, *options, weights):
        self.input, self.output = top / "input", top / "output"
        (self.input / "images/pet").mkdir(parents=True)
        self.output.mkdir()
        with socket.create_server(("", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, ROOT / "process.py", "--api-method", "invoke", "--port", self.port]
        command += ["--input", self.input, "--output", self.output, "--weights", weights, "--device", "cpu", *options]
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def ask(self, path, method="GET", body=None):
        """Return status and JSON; status 0 while nobody listens."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error) if error.headers["content-type"] == "application/json" else None
        except OSError:  # nobody listens, or not any more
            return 0, None

    def ready(self):
        """Wait until it is; return every status on the way."""
        seen = []
        while not seen or seen[-1] != 200:
            assert self.process.poll() is None, self.process.communicate()
            seen.append(self.ask("/health")[0])
            time.sleep(0.02)
        return set(seen)

    def clear(self):
        """Empty the input and the output folder."""
        for folder in (self.input / "images/pet", self.output):
            shutil.rmtree(folder)
            folder.mkdir()

    def put(self, array, name="case.mha"):
        """Let this be the only scan in the input folder, and the output folder empty."""
        self.clear()
        image = sitk.GetImageFromArray(np.asarray(array, np.float32))
        image.SetSpacing((4.0, 4.0, 4.0))
        sitk.WriteImage(image, str(self.input / "images/pet" / name))

    def stop(self, sent=signal.SIGTERM):
        """Return exit code, streams and the processor time it took."""
        return stopped(self.process, sent)


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


def free_port():
    with socket.create_server(("", 0)) as free:
        return free.getsockname()[1]


def ask(port, path, method="GET"):
    """Return status and JSON of a server in this process."""
    request = urllib.request.Request(f"http://localhost:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def serving(prepare, client, port):
    """Serve here until the client, a function that runs in a thread beside, has returned; return what it does."""
    with ThreadPoolExecutor(1) as thread:

        def use():
            try:
                return client()
            finally:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)

        asked = []

        def prepared():
            asked.append(thread.submit(use))
            return prepare()

        code = run_command(lambda stderr: server_module.serve(prepared, port=port, stderr=stderr))
        return code, asked[0].result()


def test_a_second_call_waits_and_health_answers_meanwhile(capfd):
    port, events = free_port(), []
    working, go_on = threading.Event(), threading.Event()

    def work():
        events.append("begin")
        working.set()
        assert go_on.wait(60)
        events.append("end")
        return [{"case": len(events) // 2}]

    def client():
        with ThreadPoolExecutor(2) as callers:
            first = callers.submit(ask, port, "/invoke", "POST")
            assert working.wait(60)
            second = callers.submit(ask, port, "/invoke", "POST")
            health = [ask(port, "/health") for _ in range(3)]
            waiting = (first.done(), second.done(), list(events))
            go_on.set()
            return health, waiting, first.result(), second.result()

    code, (health, waiting, first, second) = serving(lambda: work, client, port)
    assert health == [(200, {"ready": True})] * 3
    assert waiting == (False, False, ["begin"])
    assert first == (201, {"reports": [{"case": 1}]})
    assert second == (201, {"reports": [{"case": 2}]})
    assert events == ["begin", "end", "begin", "end"]  # one after the other, not both at once
    assert code == 0
    assert capfd.readouterr() == ("stopped\n", "")


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


def test_health_is_503_until_the_networks_are_there(capfd):
    port, seen = free_port(), []

    def prepare():
        seen.extend((ask(port, "/health"), ask(port, "/invoke", "POST")))
        return lambda: [{"case": 1}]

    def client():
        while ask(port, "/health")[0] == 503:
            pass
        return ask(port, "/health"), ask(port, "/invoke", "POST")

    _, answers = serving(prepare, client, port)
    assert seen == [(503, {"detail": "the networks are being loaded"})] * 2
    assert answers == ((200, {"ready": True}), (201, {"reports": [{"case": 1}]}))


def test_server_is_ready_once_every_network_has_run_a_window(run, tmp_path, weights, monkeypatch):
    """What prepares the program's server is called here, and its networks count the windows that they run."""
    windows, ready = [], []
    stream = OpenVinoEngine.stream

    def counted(engine, images):
        for logits in stream(engine, images):
            windows.append(engine.source)
            yield logits

    monkeypatch.setattr(OpenVinoEngine, "stream", counted)
    monkeypatch.setattr(server_module, "serve", lambda prepare, **_: ready.append((prepare(), len(windows))))
    second = shutil.copy(weights, tmp_path / "2.safetensors")
    options = ("--api-method", "invoke", "--device", "cpu", "--engine", "openvino")
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


def test_signal_between_a_case_and_its_answer_ends_the_server_as_it_should(monkeypatch, capsys):
    class Interrupted(server_module.Future):
        def set_result(self, result):
            super().set_result(result)
            raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(server_module, "Future", Interrupted)
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    seen = []

    def call():
        request = urllib.request.Request(f"http://localhost:{port}/invoke", b"", method="POST")
        while not seen or seen[-1] == 503:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    seen.append(answer.status)
            except urllib.error.HTTPError as error:
                seen.append(error.code)

    def prepare():
        caller.start()
        return lambda: [{"case": 1}]

    caller = threading.Thread(target=call)
    server_module.serve(prepare, port=port, stderr=sys.stderr)
    caller.join(30)
    assert seen[-1] == 201
    assert capsys.readouterr().out == "stopped\n"


def test_other_requests_are_refused(server):
    server.clear()
    assert server.ask("/elsewhere")[0] == 404
    assert server.ask("/invoke", "GET")[0] == 405
    assert server.ask("/health", "POST")[0] == 405
    assert server.ask("/invoke", "POST") == (
        422,
        {"detail": f"{server.input / 'images/pet'}: found nothing, expected one .mha file"},
    )


def test_server_that_cannot_start_says_why_and_ends(serve, tmp_path, run):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    server = serve(weights=tmp_path / "bad.safetensors")
    out, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 1
    assert "bad.safetensors: not a readable .safetensors file" in err
    assert err.count("\n") == 1
    assert "Traceback" not in out
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--api-method", "invoke", "--port", port)
    assert done.returncode == 1
    assert done.stderr == f"port {port} cannot be opened (Address already in use); is the program running already?\n"
    assert "Traceback" not in done.stdout
