from __future__ import annotations

import json

import torch

from bench.record import Record


def test_figures_of_another_machine_are_not_mixed_in(tmp_path, capfd):
    output, device = tmp_path / "cpu.json", torch.device("cpu")
    Record(output, device).write("speed", [1], {})
    assert Record(output, device).content["speed"] == [1]
    content = json.loads(output.read_text())
    output.write_text(json.dumps(content | {"machine": "another"}))
    assert "speed" not in Record(output, device).content
    assert "of another machine" in capfd.readouterr().out
