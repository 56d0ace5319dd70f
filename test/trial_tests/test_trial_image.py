from __future__ import annotations

from dataclasses import replace

import pytest
from trial.checks import check_image, failures
from trial_examples import IMAGE, LABELS


def with_options(method, options):
    labels = {**LABELS, "org.grand-challenge.api-method": method}
    return replace(IMAGE, labels=labels, environment={"SWFASTEDIT_OPTIONS": options})


@pytest.mark.parametrize(
    ("image", "cuda", "uid", "expected"),
    [
        (IMAGE, None, 10001, {}),
        (IMAGE, "12.6 sm_75 sm_90", 10001, {}),
        (replace(IMAGE, user="algorithm"), None, 10001, {}),
        (IMAGE, "13.0 sm_75", 10001, {"CUDA version": "13.0, expected 12.6 at most"}),
        (IMAGE, "12.8 sm_75", 10001, {"CUDA version": "12.8, expected 12.6 at most"}),
        (IMAGE, "12.6 sm_80 sm_90", 10001, {"CUDA for T4": "sm_80 sm_90, expected sm_75 among them"}),
        (
            replace(IMAGE, user=""),
            None,
            0,
            {"image user": "not set, expected one that is not root", "image uid": "0"},
        ),
        (
            replace(IMAGE, user="00:1"),
            None,
            0,
            {"image user": "00:1, expected one that is not root", "image uid": "0"},
        ),
        (replace(IMAGE, user="admin"), None, 0, {"image uid": "0"}),  # a name for root
        (
            replace(IMAGE, user="my-user"),
            None,
            1,
            {"image user": "my-user, expected letters and digits only, as in 10001:10001"},
        ),
        (
            replace(IMAGE, architecture="linux/arm64"),
            None,
            1,
            {"image architecture": "linux/arm64, expected linux/amd64"},
        ),
        (
            replace(IMAGE, labels={**LABELS, "org.grand-challenge.api-method": "http"}),
            None,
            1,
            {"image api-method": "http, expected exec or invoke"},
        ),
        (
            replace(IMAGE, labels={**LABELS, "org.grand-challenge.api-method": "invoke"}),
            None,
            1,
            {"image options": "none, expected --api-method invoke as in the label"},
        ),
        (with_options("invoke", "--api-method invoke --task autopet4"), None, 1, {}),
        (
            with_options("invoke", "--api-method invoke --api-method=exec"),
            None,
            1,
            {"image options": "--api-method invoke --api-method=exec, expected --api-method invoke as in the label"},
        ),
        (replace(IMAGE, entrypoint=[]), None, 1, {"image entrypoint": "none, and no command"}),
        (
            replace(IMAGE, labels={**LABELS, "org.opencontainers.image.licenses": ""}),
            None,
            1,
            {"image labels": "no org.opencontainers.image.licenses: build with ./build.sh"},
        ),
        (
            replace(IMAGE, labels={**LABELS, "org.opencontainers.image.version": "unknown"}),
            None,
            1,
            {"image labels": "no org.opencontainers.image.version: build with ./build.sh"},
        ),
    ],
)
def test_check_of_an_image_names_each_fault(image, cuda, uid, expected):
    version, *architectures = cuda.split() if cuda else [None]
    checks = check_image(image, cuda=version, architectures=architectures, uid=uid, openvino=27.0)
    assert {check.name: check.found for check in failures(checks)} == expected


def test_openvino_that_does_not_run_is_named():
    checks = check_image(IMAGE, cuda=None, architectures=[], uid=1, openvino="RuntimeError: no CPU plug-in")
    assert {check.name: check.found for check in failures(checks)} == {
        "OpenVINO runs on the CPU": "RuntimeError: no CPU plug-in, expected 27.0"
    }


def test_last_value_of_an_option_counts_in_either_form():
    image = with_options("exec", "--task=autopet4 --vote --task autopet2")
    assert image.option("--task") == "autopet2"
    assert image.option("--task", "--task=autopet4") == "autopet4"
    assert image.option("--data-centric") is None
