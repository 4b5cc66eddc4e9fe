"""Experiments on losses, gates and switches: tiny runs, and what they are made of."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import mpmath as mp
import numpy as np
import pytest

import sigjax.nn as snn
from experiments import (
    bce_pairing,
    gates_low_precision,
    pairwise_memory,
    prior_init,
    recurrent_gates,
    soft_switch,
    speed_gates,
    squeeze_excite,
)
from experiments.gates import tasks
from experiments.gates.training import SequenceModel, train
from experiments.harness.refusal import Refusal

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax's Adam takes a float to the power of a counter."""
    with jax.numpy_dtype_promotion("standard"):
        yield


# The others take long to compile; `make figures` runs them all.
TINY = {
    bce_pairing: {},
    pairwise_memory: {"pairs": (64, 16_384), "largest_run": 64, "chunks": (16,), "rounds": 1},
    prior_init: {"steps": 4, "seeds": 1, "batch": 16},
    soft_switch: {"steps": 5, "seeds": 2, "examples": 16},
    speed_gates: {
        "length": 2,
        "batch": 2,
        "inputs": 3,
        "hidden": 4,
        "rounds": 1,
        "rounds_of_preparation": 1,
    },
    squeeze_excite: {"features": 4, "reductions": (4,), "steps": 2, "batch": 4},
}
ALL = (*TINY, gates_low_precision, recurrent_gates)


@pytest.mark.proof
@pytest.mark.parametrize("experiment", TINY, ids=lambda module: module.__name__.split(".")[-1])
def test_a_tiny_run_has_claims_and_a_figure(experiment):
    config = dataclasses.replace(experiment.Config.quick(), **TINY[experiment])
    dataset = experiment.measure(config, KEY)
    claims = experiment.claims(dataset)
    assert claims
    assert len({claim.name for claim in claims}) == len(claims)
    assert all(np.isfinite(claim.expected) for claim in claims)
    figure = experiment.plot(dataset)
    assert all(axis.get_xlabel() for axis in figure.axes)
    plt.close(figure)


@pytest.mark.parametrize("experiment", ALL, ids=lambda module: module.__name__.split(".")[-1])
def test_the_papers_preset_is_larger(experiment):
    quick, paper = experiment.Config.quick(), experiment.Config.paper()
    assert quick != paper


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


def test_training_learns_what_needs_no_memory():
    """A delayed signal of length 1 is not delayed."""
    found = train(
        tasks.DELAYED_SIGNAL,
        lambda rngs: SequenceModel(tasks.TOKENS, 4, snn.RNN, snn.MinGRU, rngs),
        length=1,
        steps=60,
        batch=16,
        learning_rate=0.05,
        seeds=2,
        key=KEY,
    )
    assert found.loss.shape == found.right.shape == (2, 60)
    np.testing.assert_array_equal(found.test, 1)
    assert np.all(found.loss[:, -1] < found.loss[:, 0] / 4)


def test_adding_without_memory_has_error_one_sixth():
    _, targets = tasks.ADDING.draw(KEY, 200_000, 10)
    assert float(jnp.mean(targets**2)) == pytest.approx(1 / 6, rel=0.01)
    right = jnp.mean(tasks.ADDING.right(jnp.zeros_like(targets), targets))
    assert float(right) == pytest.approx(tasks.ADDING.chance, rel=0.05)


def test_adding_has_one_mark_in_each_half():
    inputs, targets = tasks.ADDING.draw(KEY, 1000, 10)
    value, marker = inputs[..., 0], inputs[..., 1]
    np.testing.assert_array_equal(marker[:, :5].sum(1), 1)
    np.testing.assert_array_equal(marker[:, 5:].sum(1), 1)
    np.testing.assert_allclose((value * marker).sum(1) - 1, targets, rtol=1e-5, atol=1e-6)


def test_the_delayed_signal_comes_first_and_only_there():
    inputs, targets = tasks.DELAYED_SIGNAL.draw(KEY, 1000, 10)
    np.testing.assert_array_equal(inputs[:, 0, 1], targets)
    assert not jnp.any(inputs[:, 1:, : tasks.SIGNALS])
    assert float(targets.mean()) == pytest.approx(0.5, abs=0.05)


def test_flaxs_gates_fail_the_bars_that_ours_hold():
    """The measure sees what it is there to see."""
    config = dataclasses.replace(gates_low_precision.Config(), hidden=16, times=(1000,))
    point = {"cell": "GRU", "time": 1000}
    found = gates_low_precision._errors(point, config=config, key=KEY)
    error = found["state_error"]
    assert float(error.sel(narrow="flax bfloat16")) > 10 * gates_low_precision.STATE_ERROR
    assert float(error.sel(narrow="sigjax bfloat16")) < gates_low_precision.STATE_ERROR


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: bce_pairing.Config(learning_rate=0.0),
            "--learning-rate must be above 0",
        ),
        (
            lambda: gates_low_precision.Config(times=()),
            "--times must be one or more",
        ),
        (
            lambda: pairwise_memory.Config(pairs=(64,)),
            "--pairs must be numbers with 16384",
        ),
        (
            lambda: squeeze_excite.Config(drawn_reduction=3),
            "one of --reductions 4 16, got 3",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(Refusal, match=message):
        make()
