"""Norms of gradients inside an optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sigjax.probe import safe_norm, watch


def test_norms_are_those_of_every_nth_gradient_and_updates_pass():
    optimizer = optax.chain(watch(every=3), optax.sgd(1.0))
    parameters = {"a": jnp.zeros(3), "b": {"c": jnp.zeros((2, 2))}}
    state = optimizer.init(parameters)
    update = jax.jit(optimizer.update)
    for step in range(7):
        gradient = optax.tree.full_like(parameters, 2.0**-step)
        updates, state = update(gradient, state, parameters)
        np.testing.assert_array_equal(updates["a"], -gradient["a"])
        seen = 2.0 ** -(3 * (step // 3))
        np.testing.assert_allclose(state[0].norms["a"], seen * 3**0.5, rtol=1e-6)
    np.testing.assert_allclose(state[0].smallest["b"]["c"], 2.0**-6 * 2, rtol=1e-6)
    assert state[0].step == 7
    assert state[0].not_finite == 0


def test_what_is_not_finite_is_counted():
    optimizer = watch()
    state = optimizer.init({"a": jnp.zeros(2)})
    for value in (1.0, jnp.nan, jnp.inf):
        _, state = optimizer.update({"a": jnp.full(2, value)}, state)
    assert state.not_finite == 2


def test_refuses_no_step():
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        watch(every=0)


def test_safe_norm_agrees():
    tree = {"a": jnp.full(3, 1e-30)}
    state = watch().update(tree, watch().init(tree))[1]
    assert state.norms["a"] == safe_norm(tree["a"])
