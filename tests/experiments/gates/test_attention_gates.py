"""Attention by sigmoids: a small run, and what its parts are made of."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from experiments.gates import _repeating, attention_gates


@pytest.mark.proof
def test_a_small_run_keeps_the_exact_claim(small_run):
    """Exponents are those of longer sequences."""
    small = dataclasses.replace(
        attention_gates.Config.quick(),
        lengths=(32, 128), rounds=1, length=8, steps=20, batch=4, seeds=2,
    )  # fmt: skip
    found = small_run(attention_gates, small)
    (exact,) = (claim for claim in found.values() if claim.kind == "exact")
    assert exact.verdict == "holds"
    sizes = [claim for name, claim in found.items() if "exponent" in name]
    assert [claim.measured for claim in sizes] == pytest.approx([0.5, 0.0], abs=0.15)


def test_the_plain_form_is_the_blocked_one():
    given = [
        jax.random.normal(key, (1, 20, 8, 64)) for key in jax.random.split(jax.random.key(0), 3)
    ]
    plain = attention_gates._plain(*given, -np.log(np.float32(20)))
    blocked = attention_gates._attend("sigmoid, b = -log n", *given)
    np.testing.assert_allclose(blocked, plain, atol=1e-6)


def test_a_model_without_a_gate_trains_everything_else():
    model = nnx.eval_shape(lambda: _repeating.Model(4, nnx.Rngs(0)))
    change = jax.tree.map(lambda leaf: np.float32(1), nnx.state(model, nnx.Param))
    with_gate, without = (_repeating.only_trained(change, np.bool_(flag)) for flag in (True, False))
    assert all(leaf == 1 for leaf in jax.tree.leaves(with_gate))
    still = {
        jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(without) if leaf == 0
    }
    assert still
    assert all("gate" in path for path in still)
    assert len(still) < len(jax.tree.leaves(without)) / 4
