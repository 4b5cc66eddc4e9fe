"""Spectra against published edges, moments and matrices that are drawn and multiplied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.theory import critical_line, jacobian_density, jacobian_moments


def linear(x):
    return x


@pytest.mark.parametrize("depth", [1, 5, 50])
def test_edge_of_linear_gaussian_networks(depth):
    found = jacobian_moments(linear, 1.0, 1.0, depth=depth).largest
    np.testing.assert_allclose(found, (depth + 1) ** (depth + 1) / depth**depth, rtol=1e-5)


def test_edge_of_orthogonal_relu():
    found = jacobian_moments(jax.nn.relu, 2**0.5, 1.0, depth=10, ensemble="orthogonal")
    np.testing.assert_allclose(found.largest, 10**10 / 9**9, rtol=1e-5)  # p = 1/2
    np.testing.assert_allclose(found.relative_variance, 10, rtol=1e-5)
    gaussian = jacobian_moments(jax.nn.relu, 2**0.5, 1.0, depth=10)
    np.testing.assert_allclose(gaussian.relative_variance, 20, rtol=1e-5)


@pytest.mark.parametrize(
    ("q", "excess"), [(1 / 64, 0.00169), (0.025, 0.00400), (0.5, 0.29924), (1.0, 0.58348)]
)
def test_variance_on_the_critical_line(q, excess):
    std, _ = critical_line(jnp.tanh, q)
    orthogonal = jacobian_moments(jnp.tanh, std, q, depth=50, ensemble="orthogonal")
    gaussian = jacobian_moments(jnp.tanh, std, q, depth=50)
    np.testing.assert_allclose(orthogonal.relative_variance, 50 * excess, rtol=1e-2)
    np.testing.assert_allclose(gaussian.relative_variance, 50 * (1 + excess), rtol=1e-4)
    np.testing.assert_allclose(orthogonal.mean, 1, atol=2e-5)


def drawn_spectrum(q, depth, width, orthogonal, rng):
    """Singular values of a product of tanh layers whose pre-activations are N(0, q)."""
    product = np.eye(width)
    for _ in range(depth):
        weights = rng.standard_normal((width, width)) / np.sqrt(width)
        if orthogonal:
            weights = np.linalg.qr(weights)[0]
        slopes = 1 - np.tanh(np.sqrt(q) * rng.standard_normal(width)) ** 2
        product = slopes[:, None] * weights @ product
    return np.linalg.svd(product, compute_uv=False)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("ensemble", ["gaussian", "orthogonal"])
def test_density_is_that_of_drawn_matrices(ensemble):
    q, depth = 0.5, 4
    rng = np.random.default_rng(0)
    std = float(critical_line(jnp.tanh, q).weight_std)
    drawn = std**depth * np.concatenate(
        [drawn_spectrum(q, depth, 400, ensemble == "orthogonal", rng) for _ in range(4)]
    )
    largest = jacobian_moments(jnp.tanh, std, q, depth=depth, ensemble=ensemble).largest
    np.testing.assert_allclose(drawn.max() ** 2, largest, rtol=0.06)
    ends = [(0.3, 0.8), (0.8, 1.3), (1.3, 2.5), (0.02, 0.3), (2.5, 4), (4, 8)]
    s = np.stack([np.linspace(low, high, 20, dtype=np.float32) for low, high in ends])
    density = np.asarray(jacobian_density(jnp.tanh, std, q, s, depth=depth, ensemble=ensemble))
    assert not np.isnan(density).any()
    shares = [np.mean((drawn >= low) & (drawn <= high)) for low, high in ends[:3]]
    np.testing.assert_allclose(np.trapezoid(density[:3], s[:3]), shares, atol=0.02)
    assert (density[s**2 > 1.02 * float(largest)] < 1e-3).all()


def test_refusals():
    with pytest.raises(ValueError, match="'ensemble' must be one of"):
        jacobian_moments(jnp.tanh, 1.0, 1.0, depth=3, ensemble="unitary")
    with pytest.raises(ValueError, match="depth"):
        jacobian_moments(jnp.tanh, 1.0, 1.0, depth=0)
    with pytest.raises(ValueError, match="'q' must be"):
        jacobian_density(jnp.tanh, 1.0, -1.0, 1.0, depth=1)
