"""Saturation of top layers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.depth import saturation
from experiments.depth._saturating import BLOCKS, CLASSES, forward, trainer
from experiments.depth._signals_at_start import signals_at_start


@pytest.mark.proof
def test_saturation(small_run):
    config = saturation.Config(data="digits", width=60, steps=300, initial_width=1000, draws=1)
    found = small_run(saturation, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 7
    assert all(claim.verdict == "holds" for claim in statistical), statistical


@pytest.mark.proof
def test_saturation_on_shapes_that_are_drawn_for_every_example():
    run = trainer(jax.random.key(0), "shapes", width=60, steps=2000, batch=10)
    found = run("tanh", 2, 0.05)
    assert found.accuracy[-1] > 2 / CLASSES["shapes"]  # twice what chance gives
    assert found.mean.shape == (BLOCKS, 2)
    assert np.isfinite(found.mean).all()


def test_a_network_gives_the_activations_of_every_layer_and_its_logits():
    rng = np.random.default_rng(0)
    sizes = (5, 6, 4, 3)
    layers = [(rng.normal(size=s), rng.normal(size=s[1])) for s in itertools.pairwise(sizes)]
    x = rng.normal(size=(7, 5))
    found = forward(jax.tree.map(jnp.float32, layers), jnp.float32(x), jnp.tanh)
    (a, b), (c, d), (e, f) = layers
    first = np.tanh(x @ a + b)
    second = np.tanh(first @ c + d)
    for each, expected in zip(found, (first, second, second @ e + f), strict=True):
        np.testing.assert_allclose(each, expected, atol=1e-5)


def test_singular_values_at_the_start_are_those_of_the_quarter_circle():
    for weights, expected in saturation.SINGULAR.items():
        found = signals_at_start(weights, 200, 1, jax.random.key(0))
        # For 200 units a seed differs by some 0.2 % from another.
        assert float(found["kernel_singular"]) == pytest.approx(expected, rel=0.01)
        assert (found["jacobian_singular"] < found["kernel_singular"]).all()
    assert saturation.SINGULAR["normalized"] == pytest.approx(0.8488, abs=1e-4)
