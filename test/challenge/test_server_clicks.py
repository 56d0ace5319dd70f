"""The server under --task autopet4: clicks grow from call to call, and a bad click file is the fault of its call."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from interactive_networks import click_file, write_interactive_network
from served import Served

from swfastedit_core import load_networks, read_label, read_volume, segment
from swfastedit_core.clicks import read_clicks

STEPS = 10


@pytest.fixture
def server(tmp_path):
    weights = write_interactive_network(tmp_path / "interactive.safetensors")
    one = Served(tmp_path / "served", "--task", "autopet4", weights=weights)
    one.weights = weights
    yield one
    one.process.kill()
    one.process.communicate()


def test_masks_of_growing_clicks_are_those_of_single_runs(server):
    rng = np.random.default_rng(5)
    shape = (20, 24, 28)
    server.put(rng.uniform(0, 4, shape))
    voxels = [tuple(map(int, rng.integers(0, shape[::-1]))) for _ in range(2 * STEPS)]
    clicks, pet = server.input / "lesion-clicks.json", server.input / "images/pet/case.mha"
    networks = load_networks(server.weights, device="cpu")
    server.ready()
    masks = []
    for step in range(STEPS + 1):
        click_file(clicks, tumor=voxels[:step], background=voxels[STEPS : STEPS + step])
        status, answer = server.ask("/invoke", "POST")
        (report,) = answer["reports"]
        assert (status, report["clicks"]) == (201, {"tumor": step, "background": step})
        masks.append(read_label(report["output"]).array_zyx)
        alone = segment(read_volume(pet), networks, clicks=read_clicks(clicks)).mask.array_zyx
        np.testing.assert_array_equal(masks[-1], alone)
        if step == 3:
            for content, reason in (("no JSON", "is not JSON"), ({"tumor": [(28, 0, 0)]}, "lies outside the scan")):
                if isinstance(content, str):
                    clicks.write_text(content)
                else:
                    click_file(clicks, **content)
                status, answer = server.ask("/invoke", "POST")
                assert (status, reason in answer["detail"]) == (422, True)
                assert answer["detail"].startswith(f"{clicks}: ")
    assert all(np.count_nonzero(one != other) for one, other in pairwise(masks))
    clicks.unlink()
    status, answer = server.ask("/invoke", "POST")
    assert answer["reports"][0]["clicks"] == {"tumor": 0, "background": 0}
    np.testing.assert_array_equal(read_label(answer["reports"][0]["output"]).array_zyx, masks[0])
    code, out, err, _ = server.stop()
    assert (code, len(err.splitlines())) == (0, 2)  # the reasons of two calls
    assert f"notice: {clicks}: no such file; the networks take clicks, and get none\n" in out
    assert [json.loads(line)["clicks"]["tumor"] for line in out.splitlines() if line.startswith("{")] == [
        *range(STEPS + 1),
        0,
    ]
