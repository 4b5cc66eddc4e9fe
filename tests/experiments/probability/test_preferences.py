"""Learning from preferences: a small run, and the peers that it compares with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.probability import preferences


@pytest.mark.proof
def test_all_claims_hold(small_run):
    small = dataclasses.replace(preferences.Config.quick(), pairs=50_000, steps=300, seeds=3)
    found = small_run(preferences, small)
    assert all(claim.verdict != "fails" for claim in found.values())
    usual = next(claim for name, claim in found.items() if name.startswith("bfloat16: the same"))
    assert usual.measured > 10  # what ours is held to is not what everybody has


def test_the_usual_losses_are_the_same_functions():
    x = jnp.linspace(-5, 5, 11)
    expected = 0.9 * np.logaddexp(0, -x) + 0.1 * np.logaddexp(0, x)
    np.testing.assert_allclose(preferences.usual(x, 0.1), expected, rtol=1e-6)
    odds = preferences.usual_odds_ratio(jnp.float32(-0.5), jnp.float32(-1.0))
    p, q = np.exp(-0.5), np.exp(-1.0)
    assert float(odds) == pytest.approx(np.log1p(q / (1 - q) * (1 - p) / p), rel=1e-6)


def test_the_policy_finds_a_reward_it_is_told_without_noise(standard_promotion):
    """Many pairs of few answers: what is left is the error of the frequencies."""
    config = preferences.Config(answers=3, pairs=400_000, steps=200, seeds=2)
    reward, implied, right = preferences._train(jax.random.key(1), config=config)
    np.testing.assert_allclose(implied, reward, atol=0.03)
    assert 0.5 < float(right) < 1
