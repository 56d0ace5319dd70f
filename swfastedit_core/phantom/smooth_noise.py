"""Smooth noise in patient millimetres: it displaces surfaces and varies the uptake of lesions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swfastedit_core.phantom.space import Array, Points, Vector, as_tuple, as_vector


@dataclass(frozen=True)
class SmoothNoise:
    """Smooth noise: a sum of plane sine waves.

    Attributes
    ----------
    amplitude
        Root mean square of the noise.
    vectors
        Wave vectors in radians per mm.
    phases
        Phase of each wave at the origin, in radians.
    """

    amplitude: float
    vectors: tuple[Vector, ...]
    phases: tuple[float, ...]

    @property
    def peak(self) -> float:
        """Upper limit of the noise."""
        return self.amplitude * float(np.sqrt(2 * len(self.phases)))

    def at(self, points: Points) -> Array:
        """Return the noise at each point, float32."""
        x, y, z = points
        total: Array = np.zeros(1, np.float32)
        for (kx, ky, kz), phase in zip(self.vectors, self.phases, strict=True):
            total = total + np.sin((x * kx + phase) + (y * ky) + (z * kz))
        return total * (self.amplitude * float(np.sqrt(2 / len(self.phases))))


def sample_noise(rng: np.random.Generator, *, amplitude: float, wavelength_mm: float, count: int = 4) -> SmoothNoise:
    """Sample smooth noise with `amplitude` as root mean square.

    Wavelengths differ from `wavelength_mm` by a factor of at most 1.5.
    """
    normals = rng.standard_normal((count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lengths = wavelength_mm * np.exp(rng.uniform(-0.4, 0.4, (count, 1)))
    vectors = normals * (2 * np.pi / lengths)
    return SmoothNoise(amplitude, tuple(as_vector(v) for v in vectors), as_tuple(rng.uniform(0, 2 * np.pi, count)))
