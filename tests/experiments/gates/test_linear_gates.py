"""Linear recurrences in low precision: a small run, and the two forms against each other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gates import linear_gates
from experiments.gates._clipped_rg_lru import clipped_rg_lru


@pytest.mark.proof
def test_all_claims_but_the_trained_hold(small_run):
    small = dataclasses.replace(
        linear_gates.Config.quick(), features=16, steps=64, length=8, training_steps=20, batch=8
    )
    found = small_run(linear_gates, small)
    exact = [claim for claim in found.values() if claim.kind == "exact"]
    assert len(exact) == 2
    assert all(claim.verdict == "holds" for claim in exact)
    error, cosine = (claim for name, claim in found.items() if name.startswith("clipped, bfloat16"))
    assert error.measured > linear_gates.STATE_ERROR
    assert cosine.measured < linear_gates.COSINE


@pytest.mark.slow
def test_all_forms_are_one_recurrence():
    """In float32, and of short memories, where nothing is lost."""
    config = linear_gates.Config(features=16, steps=20)
    weights = linear_gates._weights(10.0, config, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (20, 2, 16))
    first = jnp.ones((2, 16))
    plain, clipped = (form(weights, x, first) for form in (linear_gates._plain, clipped_rg_lru))
    np.testing.assert_allclose(clipped, plain, rtol=1e-4, atol=1e-5)
    ours = linear_gates._ours(weights, x.astype(jnp.bfloat16), first)
    np.testing.assert_allclose(np.float32(ours), plain, atol=0.03)
