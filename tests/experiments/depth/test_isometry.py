"""Spectra of Jacobians."""

import jax
import numpy as np
import pytest

from experiments.depth import isometry


@pytest.mark.parametrize("ensemble", isometry.ENSEMBLES)
def test_weights_have_their_variance(ensemble):
    kind = isometry.Kind(np.tanh, ensemble, 1.3, 0.0)
    weights = kind.weight_std * isometry.unit_weights(jax.random.key(0), kind.ensemble, (200, 200))
    np.testing.assert_allclose(np.mean(np.square(weights)) * 200, 1.69, rtol=0.02)


@pytest.mark.proof
def test_isometry(small_run):
    config = isometry.Config(
        width=100, depth=10, draws=4, trained_width=20, trained_depth=4, steps=5,
        learning_rates=(1e-3,),
    )  # fmt: skip
    found = small_run(isometry, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 5
    assert all(claim.verdict == "holds" for claim in statistical)
