from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from fake_engine import FakeEngine

from swfastedit_core.blending import UNSEEN_LOGIT, Blend, gaussian_weights
from swfastedit_core.box import Box
from swfastedit_core.checkpoint import Channels
from swfastedit_core.inferer import cut, infer
from swfastedit_core.windows import WindowPlan, plan_windows

CPU = torch.device("cpu")


class Noise(FakeEngine):
    """Returns other random logits for every window."""

    config = SimpleNamespace(window=(4, 4, 4), channels=Channels.PET, clicks=None)

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, windows):
        return torch.randn(windows[:, 0].shape, generator=self.generator)


class NeverRuns(FakeEngine):
    """Fails if a window runs."""

    config = Noise.config

    def __call__(self, windows):
        raise AssertionError("a window ran")


class Keeps:
    """Keeps the logits of windows."""

    def __init__(self):
        self.windows = {}

    def take(self, index):
        return self.windows.get(index)

    def keep(self, index, logits):
        self.windows[index] = logits.clone()
        return self.windows[index]


def test_weighted_mean_by_hand():
    window = (3, 1, 1)
    edge = 0.02856550  # exp(-1 / (2 (3/8)²)), the weight one voxel from the middle
    blended = Blend(Box((1, 0, 0), (4, 1, 1)), window=window, device=CPU)
    blended.add(Box.at((0, 0, 0), window), torch.tensor([9.0, 1.0, 2.0]).view(3, 1, 1))
    blended.add(Box.at((1, 0, 0), window), torch.tensor([3.0, 4.0, 5.0]).view(3, 1, 1))
    mean = blended.divide_by_weights().flatten().tolist()
    assert mean == pytest.approx([(1 + 3 * edge) / (1 + edge), (2 * edge + 4) / (1 + edge), 5.0], rel=1e-5)


@pytest.mark.parametrize("shape", [(9, 8, 11), (3, 9, 2)])
@pytest.mark.parametrize("region", [Box((0, 0, 0), (3, 3, 2)), Box((1, 2, 0), (3, 8, 2)), Box((2, 8, 1), (3, 9, 2))])
def test_region_that_is_blended_again_has_the_same_bits(shape, region):
    plan, kept, image = plan_windows(shape, window=(4, 4, 4), overlap=0.75), Keeps(), torch.zeros((1, *shape))
    logits = infer(image, plan, Noise(), store=kept)
    assert sorted(kept.windows) == list(range(len(plan.boxes)))
    region = region.clipped(plan.region)
    again = infer(image, plan, NeverRuns(), region=region, store=kept)
    assert torch.equal(again, logits[region.relative_to(plan.region).slices])


def test_box_of_a_replaced_window_equals_a_new_blend_of_all():
    plan, kept, image = plan_windows((8, 8, 8), window=(4, 4, 4), overlap=0.5), Keeps(), torch.zeros((1, 8, 8, 8))
    infer(image, plan, Noise(), store=kept)
    del kept.windows[3], kept.windows[8]  # another part of the image
    before = kept.windows.copy()
    part = infer(image, plan, Noise(), region=plan.boxes[3], store=kept)
    assert set(kept.windows) - set(before) == {3}  # windows that do not overlap the region are not run
    kept.windows[8] = before.get(8, torch.zeros((4, 4, 4)))
    whole = infer(image, plan, NeverRuns(), store=kept)
    assert torch.equal(part, whole[plan.boxes[3].slices])
    assert torch.equal(kept.windows[2], before[2])


def test_half_precision_logits_are_blended_in_float32():
    windows = [(Box.at((0, 0, 0), (2, 2, 2)), torch.full((2, 2, 2), 0.1, dtype=torch.float16))]
    blended = Blend(Box.whole((2, 2, 2)), window=(2, 2, 2), device=CPU)
    blended.add(*windows[0])
    mean = blended.divide_by_weights()
    assert mean.dtype == torch.float32
    assert mean.flatten().tolist() == pytest.approx([0.0999755859375] * 8, rel=1e-6)


def test_region_without_windows_is_background():
    blended = Blend(Box.whole((2, 3, 4)), window=(2, 2, 2), device=CPU)
    assert (blended.divide_by_weights() == UNSEEN_LOGIT).all()
    assert infer(torch.zeros(1, 4, 4, 4), WindowPlan((4, 4, 4), (2, 2, 2), ()), Noise()).shape == (0, 0, 0)


def test_weights_fall_from_the_middle_to_the_floor():
    weights = gaussian_weights((5, 5, 5))
    assert weights[2, 2, 2].item() == 1.0
    assert weights.min().item() == pytest.approx(1e-3)
    assert torch.equal(weights, weights.flip(0, 1, 2))


def test_voxels_of_a_window_beyond_the_image_are_zero():
    image = torch.arange(1.0, 25.0).view(1, 2, 3, 4)
    window = cut(image, Box((-1, 1, 0), (3, 5, 4)))
    expected = torch.zeros(1, 4, 4, 4)
    expected[:, 1:3, :2] = image[:, :, 1:]
    assert torch.equal(window, expected)
    inside = cut(image, Box((0, 1, 2), (2, 3, 4)))
    assert torch.equal(inside, image[:, :, 1:3, 2:])
    assert inside.data_ptr() == image[0, 0, 1, 2:].data_ptr()  # a view, not a copy
