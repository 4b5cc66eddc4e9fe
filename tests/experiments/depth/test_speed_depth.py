"""The contestants of the speed comparison compute the same norms; no time is asserted."""

import jax
import numpy as np
import pytest

import sigjax
from experiments.datasets.images import CLASSES, PIXELS, digits
from experiments.depth import speed_depth
from experiments.depth._contestants import contestants
from experiments.depth._initializers import weight_initializer
from experiments.depth._network import PlainNetwork, draw_weights


@pytest.mark.slow
def test_contestants_agree():
    kernel, gain = weight_initializer("standard", "sigmoid")
    weights = draw_weights(
        jax.random.key(0),
        kernel,
        gain,
        seeds=2,
        depth=4,
        width=16,
        inputs=PIXELS,
        classes=CLASSES,
    )
    batch = digits(jax.random.key(1), 8)
    results = {
        name: make(PlainNetwork(sigjax.sigmoid), weights, batch)()
        for name, make in contestants().items()
    }
    ours = results["sigjax"].weight
    expected = np.ldexp(ours.mantissa, ours.exponent)  # [seed, layer]
    np.testing.assert_allclose(results["vmap(grad(scan))"], expected[:, 1:], rtol=1e-5)
    for seed, norms in enumerate(results["flax loop"]):
        np.testing.assert_allclose(norms[:4], expected[seed], rtol=1e-5)
    if "torch loop" in results:
        found = np.array([norms.numpy() for norms in results["torch loop"]])
        np.testing.assert_allclose(found.T, expected[:, 1:], rtol=1e-5)


@pytest.mark.proof
def test_speed_experiment_runs():
    small = speed_depth.Config(depth=3, width=8, batch=4, seeds=2, rounds=1, compile_depths=(3, 5))
    dataset = speed_depth.measure(small, jax.random.key(0))
    assert {claim.kind for claim in speed_depth.claims(dataset)} == {"reported"}
    assert len(speed_depth.plot(dataset).axes) == 2
