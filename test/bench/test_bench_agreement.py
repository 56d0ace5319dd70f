from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import FakeEngine

from bench import agreement
from swfastedit_core import Geometry, Volume, write_volume
from swfastedit_core.checkpoint import Channels, CheckpointConfig
from swfastedit_core.engine.ensemble import Ensemble
from swfastedit_core.intensity import RangeIntensity
from swfastedit_core.model import NetworkConfig
from swfastedit_core.preprocess import Preprocessing
from swfastedit_core.train.data.sources import Source


class Threshold(FakeEngine):
    """Finds what has an SUV above a limit, whatever the window."""

    def __init__(self, limit):
        self.limit = limit
        preprocessing = Preprocessing((4.0, 4.0, 4.0), RangeIntensity(0.0, 10.0))
        self.config = SimpleNamespace(window=(8, 8, 8), channels=Channels.PET, clicks=None, preprocessing=preprocessing)

    def __call__(self, windows):
        return windows[:, 0] * 10 - self.limit


def test_default_mask_is_compared_with_the_full_grid(tmp_path, monkeypatch):
    engines = {"auto": Ensemble([Threshold(5.0)]), "float32": Ensemble([Threshold(3.0)])}
    monkeypatch.setattr(agreement, "load_networks", lambda *_, device, precision="auto": engines[precision])
    suv = np.zeros((20, 20, 20), np.float32)
    suv[4:8, 4:8, 4:8] = 4.0  # 64 voxels that float32 alone finds
    suv[12:16, 12:16, 12:18] = 8.0  # 96 for both
    folder = tmp_path / "patient"
    write_volume(Volume(suv, Geometry((20, 20, 20), (4.0, 4.0, 4.0))), folder / "pet.mha")
    label = (suv > 5).astype(np.uint8)
    write_volume(Volume(label, Geometry((20, 20, 20), (4.0, 4.0, 4.0))), folder / "label.mha")
    source = Source("patient", "patient", "scan", pet=folder / "pet.mha", label=folder / "label.mha")
    labelled, unlabelled = agreement.compare_masks(Path("weights"), [source, replace(source, label=None)], device="cpu")
    assert labelled.scan == "patient"
    assert labelled.dice == pytest.approx(2 * 96 / (96 + 160))
    assert labelled.moved_dice == 1.0  # whatever the window
    assert (labelled.full_label_dice, labelled.default_label_dice) == (pytest.approx(0.75), 1.0)
    assert unlabelled == replace(labelled, full_label_dice=None, default_label_dice=None)
    assert labelled.precision_dice == pytest.approx(0.75)  # no window matters here
    assert (labelled.differing_voxels, labelled.windows_full_grid) == (64, 7**3)  # steps of 2
    assert labelled.full_ml == pytest.approx(160 * 0.064)
    assert labelled.default_ml == pytest.approx(96 * 0.064)
    assert "| patient | 0.7500 | 1.0000 | 0.7500 | 0.750 | 1.000 | 10.2 ml | 6.1 ml | 64 |" in agreement.to_markdown(
        [labelled]
    )


def test_scan_without_its_first_voxels_stays_in_its_place():
    grid = Geometry((5, 4, 3), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    cut = agreement.without_first(Volume(array, grid), (1, 2, 0))
    assert cut.geometry.size_xyz == (4, 2, 3)
    assert cut.array_zyx[0, 0, 0] == array[0, 2, 1]
    assert cut.geometry.origin_mm == (10.0 - 6.0, 20.0 + 2.0, 30.0)  # x runs along the patient's y, y against its x
    config = CheckpointConfig(NetworkConfig(), window=(128, 128, 128))
    assert agreement.half_a_step(Geometry((9, 9, 9), (4.0, 2.0, 3.0)), config) == (8, 16, 16)
