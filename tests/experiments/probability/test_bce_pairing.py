"""Cross-entropy behind a sigmoid, and squared error there."""

import jax
import mpmath as mp
import numpy as np
import pytest

from experiments.harness.usage import UsageError
from experiments.probability import bce_pairing

KEY = jax.random.key(0)


@pytest.mark.proof
def test_a_tiny_run_has_claims_and_a_figure(small_run):
    found = small_run(bce_pairing, bce_pairing.Config.quick())
    assert found
    assert all(np.isfinite(claim.expected) for claim in found.values())


@pytest.mark.parametrize("loss", bce_pairing.LOSSES)
def test_time_of_recovery_is_the_integral_of_the_flow(loss):
    """dz/dt = -L'(z): the time is the integral of dz / L'(z)."""

    def slope(z):
        p = 1 / (1 + mp.exp(-z))
        return p if loss == "cross-entropy" else 2 * p * p * (1 - p)

    for probability in (0.6, 0.9, 0.99):
        start = mp.log(probability / (1 - mp.mpf(probability)))
        expected = float(mp.quad(lambda z: 1 / slope(z), [0, start]))
        found = float(bce_pairing.flow_time(np.float64(probability), loss))
        assert found == pytest.approx(expected, rel=1e-9)


def test_a_recovery_that_takes_too_long_fails_its_claim():
    config = bce_pairing.Config(learning_rate=0.1, most_steps=10)
    verdicts = {
        claim.name: claim.verdict for claim in bce_pairing.claims(bce_pairing.measure(config, KEY))
    }
    assert verdicts["squared error: time to come back from 0.99 to 1/2"] == "fails"


def test_refusal():
    with pytest.raises(UsageError, match="--learning-rate must be above 0"):
        bce_pairing.Config(learning_rate=0.0)
