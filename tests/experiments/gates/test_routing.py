"""Routers of experts: a small run, and the gradient in closed form."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.gates import routing


@pytest.mark.proof
def test_a_small_run_keeps_its_claims(small_run):
    small = dataclasses.replace(routing.Config.quick(), seeds=2)
    found = small_run(routing, small)
    assert all(claim.verdict != "fails" for claim in found.values())


def test_the_closed_form_of_the_gradient_is_that_of_the_weight():
    found = routing._saturated(np.array([-3.0, 0.0, 2.0]))

    def weight(z):
        s = 1 / (
            1 + np.exp(-np.array([z, found["logit"].values - 1.0], dtype=object).astype(float))
        )
        return s[0] / s.sum(0)

    z, step = found["logit"].values, 1e-6
    difference = (weight(z + step) - weight(z - step)) / (2 * step)
    np.testing.assert_allclose(found["exact_slope"], difference, rtol=1e-8)
    np.testing.assert_allclose(found["slope"].sel(form="quotient"), difference, rtol=1e-5)


def test_tokens_of_a_kind_share_a_map():
    config = routing.Config(tokens=64, steps=100)
    drawn = jax.jit(lambda key: routing._draw(key, config=config))(jax.random.key(0))
    assert drawn.inputs.shape == drawn.wanted.shape == (6400, 16)
    # kinds lie apart: within the first kind a linear map gives every answer
    first = np.linalg.norm(drawn.inputs - drawn.inputs[0], axis=1) < 3.2
    inputs, wanted = np.asarray(drawn.inputs)[first], np.asarray(drawn.wanted)[first]
    assert first.sum() > 100
    left = wanted - inputs @ np.linalg.lstsq(inputs, wanted)[0]
    assert np.median(np.linalg.norm(left, axis=1)) < 1e-3
