"""A layer's maps of length and correlation, beside closed forms."""

import numpy as np
from scipy import integrate

from experiments.depth._maps import correlation_map, variance_map


def test_maps_of_a_rectifier_are_those_of_the_arc_cosine_kernel():
    # Cho & Saul 2009: E[relu(u) relu(v)] = (sin t + (pi - t) cos t) / (2 pi) for cos t = c.
    def relu(x):
        return np.maximum(x, 0)

    q, c = np.array([0.3, 2.0]), np.array([0.0, 0.4, 1.0])
    np.testing.assert_allclose(variance_map(relu, 1.5, 0.2, q), 1.5**2 * q / 2 + 0.04, rtol=1e-5)
    angle = np.arccos(c)
    kernel = (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi)
    mapped = correlation_map(relu, 1.5, 0.2, 2.0, c)
    # A kink costs the trapezoidal rule the square of its step, 1/20.
    np.testing.assert_allclose(mapped, 1.5**2 * kernel + 0.02, atol=1e-3)


def test_map_of_tanh_is_adaptive_quadrature_at_the_largest_mean_square_that_is_drawn():
    exact, _ = integrate.quad(
        lambda z: np.tanh(15**0.5 * z) ** 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
        *(-10, 10),
        epsabs=1e-13,
    )
    np.testing.assert_allclose(variance_map(np.tanh, 1.0, 0.0, np.array([15.0])), exact, atol=1e-9)
