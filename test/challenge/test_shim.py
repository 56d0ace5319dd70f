"""The platform's real shim starts and calls the program; see `test/shim.py`."""

from __future__ import annotations

import json
import socket
import time

import pytest
import SimpleITK as sitk
from program import assert_is_mask_of_the_scan, scan
from shim import MASK, SERVE_PORT, Shim, UnavailableError, make_environment, running_bucket

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def python():
    try:
        return make_environment()
    except UnavailableError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def bucket(python):
    with running_bucket(python) as bucket:
        yield bucket


@pytest.fixture
def shim(python, bucket, tmp_path, weights):
    def make(method, *options, weights=weights / "1.safetensors"):
        return Shim(python, bucket, tmp_path, method, ["--device", "cpu", "--weights", str(weights), *options])

    return make


@pytest.fixture(scope="module")
def pet(tmp_path_factory):
    path = tmp_path_factory.mktemp("pet") / "pet.mha"
    sitk.WriteImage(scan(), str(path))
    return path.read_bytes()


def check_mask(bucket, pk, tmp_path):
    path = tmp_path / f"{pk}.mha"
    path.write_bytes(bucket.get(f"{pk}/{MASK}"))
    assert assert_is_mask_of_the_scan(path).any()


def health_calls(done):
    """Return the answers to the shim's questions for the health, from its log."""
    logs = [json.loads(line)["log"] for line in done.stdout.splitlines() if line.startswith('{"log"')]
    return [log for log in logs if log.startswith("Health endpoint returned")]


@pytest.mark.parametrize("method", ["exec", "invoke"])
def test_tasks_one_after_another_and_a_truncated_scan_at_the_end(method, shim, bucket, pet, tmp_path):
    shim = shim(method)
    names = [f"{method}-{number}" for number in range(4)]
    scans = [pet, pet, pet[: len(pet) // 2], pet]
    done = shim.invoke(*(shim.task(name, scan) for name, scan in zip(names, scans, strict=True)))
    assert done.returncode == 0, done.stderr
    results = [bucket.result(name) for name in names]
    assert [result and result["return_code"] for result in results] == [0, 0, 1, None]  # the shim stops at a failure
    for name, result in zip(names[:2], results[:2], strict=True):
        check_mask(bucket, name, tmp_path)
        assert [output["relative_path"] for output in result["outputs"]] == [MASK]
        assert result["user_process_last_stderr_lines"] == []  # would be a warning for the user
    assert bucket.get(f"{names[2]}/{MASK}") is None
    (line,) = results[2]["user_process_last_stderr_lines"]
    assert "scan.mha: " in line
    assert json.loads(bucket.get("runtime/.sagemaker_shim/runtime_setup_result.json"))["return_code"] == 0
    if method == "invoke":
        assert health_calls(done)[-1] == "Health endpoint returned status code 200"


def test_reason_of_a_failed_start_reaches_the_user_at_once(shim, bucket, pet, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    shim = shim("invoke", weights=tmp_path / "bad.safetensors")
    begin = time.monotonic()
    done = shim.invoke(shim.task("failed", pet))
    assert time.monotonic() - begin < 120  # 300 s if the server ends
    assert done.returncode == 0, done.stderr
    result = bucket.result("failed")
    assert result["return_code"] == 1
    assert "bad.safetensors: not a readable .safetensors file" in result["user_process_last_stderr_lines"][-1]
    assert json.loads(bucket.get("runtime/.sagemaker_shim/runtime_setup_result.json"))["return_code"] == 0


def test_server_of_the_shim_continues_after_a_scan_that_cannot_be_used(shim, bucket, pet, tmp_path):
    with socket.socket() as caller:
        if caller.connect_ex(("127.0.0.1", SERVE_PORT)) == 0:
            pytest.skip(f"port {SERVE_PORT}, which the shim uses, is taken")
    shim = shim("invoke")
    with shim.serve() as send:
        codes = [send(shim.task(f"serve-{n}", scan))["return_code"] for n, scan in enumerate((pet, pet[:300], pet))]
    assert codes == [0, 1, 0]
    for pk in ("serve-0", "serve-2"):
        check_mask(bucket, pk, tmp_path)
