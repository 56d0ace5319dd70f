from __future__ import annotations

import numpy as np
import pytest

from swfastedit_core.engine.instance_norm import ExactNorm, MvnNorm
from swfastedit_core.engine.openvino_runtime import openvino, opset13

CHANNELS = 8


def image_with_constant_air(shape, seed=0):
    """Return float32 [1, 8, X, Y, Z]: in each channel one value in most voxels, noise around another in some."""
    rng = np.random.default_rng(seed)
    x = np.empty((1, CHANNELS, *shape), np.float32)
    for channel in x[0]:
        channel[:] = rng.normal()
        part = channel[tuple(slice(side // 4, side // 2 + 1) for side in shape)]
        part[:] = rng.normal(2, 1, part.shape)
    return x


def run(operation, x):
    """Run one operation behind a convolution by the identity, which gives it the memory layout of a network."""
    identity = np.eye(CHANNELS, dtype=np.float32).reshape(CHANNELS, CHANNELS, 1, 1, 1)
    image = opset13.parameter(list(x.shape), np.float32)
    zero, one = [0] * 3, [1] * 3
    copy = opset13.convolution(image, opset13.constant(identity), one, zero, zero, one)
    options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
    model = openvino.Model([operation(copy)], [image], "one_operation")
    return openvino.Core().compile_model(model, "CPU", options)([x])[0]


SHAPES = [(128, 128, 128), (96, 160, 64), (101, 18, 50), (2, 300, 33), (5, 7, 9), (8, 8, 8), (4, 4, 2), (2, 2, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_norm_is_instance_norm_whatever_the_sides(shape):
    x = image_with_constant_air(shape)
    exact = x.astype(np.float64)
    exact -= exact.mean((2, 3, 4), keepdims=True)
    exact /= np.sqrt(exact.var((2, 3, 4), keepdims=True) + 1e-5)
    np.testing.assert_allclose(run(ExactNorm(), x), exact, rtol=0, atol=3e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_exact_mean_is_the_mean_whatever_the_sides(shape):
    x = image_with_constant_air(shape)
    expected = x.mean((2, 3, 4), keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(run(ExactNorm().mean, x), expected, rtol=0, atol=5e-6)


def test_both_norms_agree_on_noise():
    x = np.random.default_rng(1).normal(3, 2, (1, CHANNELS, 32, 32, 32)).astype(np.float32)
    np.testing.assert_allclose(run(ExactNorm(), x), run(MvnNorm(), x), rtol=0, atol=1e-3)


def test_constant_channel_becomes_zero():
    x = np.full((1, CHANNELS, 40, 40, 24), 0.3, np.float32)
    np.testing.assert_allclose(run(ExactNorm(), x), np.zeros_like(x), rtol=0, atol=1e-4)
