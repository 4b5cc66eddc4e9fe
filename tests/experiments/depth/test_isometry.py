"""Spectra of Jacobians."""

import jax
import numpy as np
import pytest

from experiments.depth import isometry
from experiments.depth._orthogonal import orthogonal
from experiments.depth._spectra import draw_spectra


def test_orthogonal_matrices_are_orthogonal_and_spread_as_haar_has_them():
    draw = jax.jit(jax.vmap(lambda key: orthogonal(key, (8, 8))))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)), np.float64)
    np.testing.assert_allclose(drawn @ drawn.mT, np.broadcast_to(np.eye(8), drawn.shape), atol=2e-6)
    # Entries of a uniform unit vector: mean 0, variance 1 / n, fourth moment 3 / (n (n + 2)).
    np.testing.assert_allclose(drawn.mean(0), 0, atol=0.03)
    np.testing.assert_allclose((drawn**2).mean(0), 1 / 8, rtol=0.12)
    np.testing.assert_allclose((drawn**4).mean(0), 3 / 80, rtol=0.25)
    # The trace has mean 0 and variance 1, and the determinant both signs.
    trace = np.trace(drawn, axis1=1, axis2=2)
    np.testing.assert_allclose([trace.mean(), trace.var()], [0, 1], atol=0.1)
    np.testing.assert_allclose(np.mean(np.linalg.det(drawn) > 0), 0.5, atol=0.05)


def test_orthogonal_matrices_are_square():
    with pytest.raises(ValueError, match="square"):
        orthogonal(jax.random.key(0), (2, 3))


def test_moments_of_a_spectrum_are_those_of_its_singular_values():
    found = draw_spectra(jax.random.key(0), 1, "gaussian", 1.0, width=24, depth=3, draws=2)
    squares = np.linalg.svd(found.jacobian, compute_uv=False) ** 2
    mean = squares.mean(1)
    np.testing.assert_allclose(found.variance, squares.var(1) / mean**2, rtol=1e-4)
    np.testing.assert_allclose(found.edge, squares.max(1) / mean, rtol=1e-4)


@pytest.mark.proof
def test_isometry(small_run):
    config = isometry.Config(
        width=100, depth=10, draws=8, trained_width=20, trained_depth=4, steps=5,
        learning_rates=(1e-3,),
    )  # fmt: skip
    found = small_run(isometry, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 8
    # Eight networks of width 100: twice the tolerance of sixteen of width 200.
    for claim in statistical:
        assert abs(claim.measured / claim.expected - 1) <= 2 * claim.tolerance, claim
