"""Sums of sigmoids that draw a curve."""

import jax
import numpy as np
import pytest

from experiments.functions import _random_pieces as random_pieces
from experiments.functions import universal_approximation


@pytest.mark.proof
def test_universal_approximation(small_run):
    config = universal_approximation.Config(
        repeats=2000,
        targets=("cos 6x", "Gaussian, 2-D"),
        units=(4, 16),
        points=128,
        steps=300,
        seeds=1,
    )
    found = small_run(universal_approximation, config)
    exact = [claim for claim in found.values() if claim.kind != "qualitative"]
    assert len(exact) == 6
    assert all(claim.verdict == "holds" for claim in exact), exact


def test_the_error_of_steps_is_the_integral():
    key = jax.random.key(3)
    knots = np.sort(np.asarray(jax.random.uniform(key, (7,)), np.float64))
    x = (np.arange(200_000) + 0.5) / 200_000
    drawn = np.searchsorted(knots, x) / 7
    np.testing.assert_allclose(
        random_pieces.steps_error(key, 7), np.mean((drawn - x) ** 2), rtol=1e-4
    )
