"""The tasks of sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.gates import _tasks as tasks

KEY = jax.random.key(0)


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
