"""Norms of gradients inside an optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

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
    np.testing.assert_allclose(state[0].largest["b"]["c"], 2.0, rtol=1e-6)
    assert state[0].step == 7
    assert state[0].not_finite == 0
    assert state[0].first_not_finite == state[0].last_not_finite == -1


def test_what_is_not_finite_is_counted_apart_as_optax_counts_it():
    norms = np.array([np.nan, 3.0, np.inf, 1.0, np.nan, 2.0], np.float32)
    parameters = {"a": jnp.zeros(1), "healthy": jnp.zeros(1)}
    gradients = {"a": norms[:, None], "healthy": np.full((6, 1), 5.0, np.float32)}
    ours, theirs = watch(), optax.apply_if_finite(optax.identity(), 10)

    def step(states, gradient):
        states = tuple(
            transformation.update(gradient, state)[1]
            for transformation, state in zip((ours, theirs), states, strict=True)
        )
        return states, states

    start = ours.init(parameters), theirs.init(parameters)
    (ours, theirs), along = jax.lax.scan(step, start, gradients)
    assert ours.not_finite == theirs.total_notfinite == 3
    assert (ours.first_not_finite, ours.last_not_finite) == (0, 4)
    np.testing.assert_array_equal(along[0].not_finite, along[1].total_notfinite)
    np.testing.assert_array_equal(along[0].norms["a"], norms)
    # Before the first finite norm nothing is known, and nothing is infinite.
    most = np.finfo(np.float32).max
    np.testing.assert_array_equal(along[0].smallest["a"], [most, 3, 3, 1, 1, 1])
    np.testing.assert_array_equal(along[0].largest["a"], [0, 3, 3, 3, 3, 3])
    np.testing.assert_array_equal(along[0].smallest["healthy"], [5] * 6)


@pytest.mark.parametrize("gradient_dtype", ["bfloat16", "float32", "float64"])
def test_no_update_changes_a_dtype(gradient_dtype):
    def kinds(state):
        return jax.tree.map(lambda leaf: (leaf.dtype, leaf.shape, leaf.weak_type), state)

    with jax.enable_x64(gradient_dtype == "float64"):
        watcher = watch()
        before = watcher.init({"a": jnp.zeros(2, jnp.float32)})
        _, after = watcher.update({"a": jnp.full(2, 1e-30, gradient_dtype)}, before)
        assert kinds(after) == kinds(before)
        expected = 2**0.5 * float(jnp.asarray(1e-30, gradient_dtype))
        np.testing.assert_allclose(after.norms["a"], expected, rtol=1e-6)
    # A state of float32 stays one where x64 is enabled later.
    before = watcher.init({"a": jnp.zeros(2)})
    with jax.enable_x64(True):
        _, after = watcher.update({"a": jnp.ones(2, jnp.float64)}, before)
    assert kinds(after) == kinds(before)


def test_a_parameter_without_a_gradient_keeps_its_numbers():
    parameters = {"w": jnp.zeros(2), "frozen": jnp.zeros(2), "count": jnp.int32(3), "none": None}
    gradients = {
        "w": jnp.array([3.0, 4.0]),
        "frozen": jnp.full(2, jnp.nan),
        "count": np.zeros((), jax.dtypes.float0),
        "none": None,
    }
    watcher = watch()
    _, state = watcher.update(gradients, watcher.init(parameters))
    assert state.not_finite == 1
    for nothing in (None, optax.MaskedNode()):
        passed, state = watcher.update(gradients | {"frozen": nothing}, state)
        assert passed["frozen"] is nothing
    assert state.not_finite == 1
    assert jnp.isnan(state.norms["frozen"])
    assert (state.norms["w"], state.norms["count"], state.norms["none"]) == (5, 0, None)
    # The same, where Optax hides what is frozen.
    masked = optax.masked(watch(), {"w": True, "frozen": False, "count": False, "none": None})
    _, state = masked.update(gradients, masked.init(parameters))
    assert state.inner_state.norms["w"] == 5
    assert jax.tree.leaves(state.inner_state.norms) == [5]


def test_nothing_to_watch_and_complex_numbers():
    watcher = watch()
    assert watcher.update({}, watcher.init({}))[1].step == 1
    parameter = jnp.zeros(1, jnp.complex64)
    _, state = watcher.update(jnp.full(1, 3 + 4j), watcher.init(parameter))
    assert state.norms == 5


def test_gradients_of_another_tree_are_refused():
    watcher = watch()
    state = watcher.init({"a": jnp.zeros(1)})
    with pytest.raises(ValueError, match="'updates' must be a tree like the parameters"):
        watcher.update({"b": jnp.zeros(1)}, state)


def test_a_state_can_be_donated_and_watches_a_module():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.chain(watch(), optax.sgd(0.1)), wrt=nnx.Param)
    gradients = nnx.grad(lambda model: jnp.sum(model(jnp.ones((1, 2)))))(model)
    optimizer.update(model, gradients)
    norms = optimizer.opt_state[0].norms
    np.testing.assert_allclose(norms["kernel"][...], 6**0.5, rtol=1e-6)
    watcher = watch()
    gradient = {"a": jnp.ones(2)}
    update = jax.jit(watcher.update, donate_argnums=1)
    assert update(gradient, watcher.init(gradient))[1].step == 1


def test_a_healthy_run_trips_no_check():
    watcher = watch()
    with jax.debug_nans(True), jax.debug_infs(True), jax.disable_jit():
        state = watcher.init({"a": jnp.zeros(2), "b": jnp.zeros(2)})
        gradient = {"a": jnp.array([3e-30, 4e-30]), "b": jnp.array([6e30, 8e30])}
        _, state = watcher.update(gradient, state)
    np.testing.assert_allclose(state.norms["a"], 5e-30, rtol=1e-6)
    np.testing.assert_allclose(state.norms["b"], 1e31, rtol=1e-6)


def regression(dtype, rate, steps=300):
    """The loss of a linear fit, from where it began to where it ends, and what watch saw last."""
    inputs = jax.random.normal(jax.random.key(0), (64, 8))
    targets = inputs @ jnp.linspace(0.5, 1.5, 8)
    optimizer = optax.chain(optax.sgd(rate), watch(every=50, applied=True))

    def loss(w):
        return jnp.mean((inputs @ w.astype(jnp.float32) - targets) ** 2)

    def step(carry, _):
        w, state = carry
        updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    start = jnp.full(8, 0.75, dtype)
    (w, state), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))(
        (start, optimizer.init(start))
    )
    return float(loss(w) / loss(start)), state[1]


def test_lost_updates_are_found_where_training_stands_still_and_nowhere_else():
    learns, healthy = regression(jnp.float32, 1e-3)
    stands, found = regression(jnp.bfloat16, 1e-3)
    assert learns < 0.5 < 0.8 < stands
    assert float(healthy.lost) == 0
    assert healthy.findings == []
    assert [finding.kind for finding in found.findings] == ["lost_update"]
    assert regression(jnp.bfloat16, 0.1, steps=1)[1].findings == []


@pytest.mark.parametrize("update_dtype", ["bfloat16", "float32"])
def test_the_share_of_lost_updates_is_that_of_a_sum_in_numpy(update_dtype):
    keys = jax.random.split(jax.random.key(1))
    parameter = jax.random.normal(keys[0], (500,), "bfloat16")
    update = (2e-3 * jax.random.normal(keys[1], (500,))).astype(update_dtype).at[:100].set(0)
    watcher = watch(applied=True)
    passed, state = watcher.update({"w": update}, watcher.init({"w": parameter}), {"w": parameter})
    assert passed["w"] is update
    applied = optax.apply_updates(
        {"w": parameter}, {"w": update if update_dtype == "bfloat16" else update.astype("bfloat16")}
    )
    exact = np.asarray(parameter, np.float64) + np.asarray(update, np.float64)
    lost = exact.astype(parameter.dtype)[100:] == np.asarray(parameter)[100:]
    assert 0.2 < lost.mean() < 0.9
    np.testing.assert_allclose(state.lost["w"], lost.mean(), rtol=1e-6)
    assert np.sum(np.asarray(applied["w"] == parameter)[100:]) == pytest.approx(lost.sum(), abs=4)


def test_lost_updates_of_a_module_are_named_and_parameters_are_asked_for():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0), param_dtype=jnp.bfloat16)
    model.kernel[...] = jnp.ones((2, 3), jnp.bfloat16)
    optimizer = nnx.Optimizer(
        model, optax.chain(optax.sgd(1e-3), watch(applied=True)), wrt=nnx.Param
    )
    optimizer.update(model, nnx.grad(lambda m: jnp.mean(m(jnp.ones((1, 2), jnp.bfloat16))))(model))
    assert [f.layers for f in optimizer.opt_state[1].findings] == [("kernel",)]
    assert watch().init({"w": jnp.ones(2)}).findings == []
    last = watch(applied=True)
    with pytest.raises(ValueError, match="'params' must be given"):
        last.update({"w": jnp.ones(2)}, last.init({"w": jnp.ones(2)}))


def test_steps_are_counted_up_to_the_largest_int32():
    watcher = watch(every=2)
    state = watcher.init({})._replace(step=jnp.int32(2**31 - 2))
    for _ in range(2):
        _, state = watcher.update({}, state)
    assert state.step == 2**31 - 1


def test_refuses_no_step():
    with pytest.raises(ValueError, match="'every' must be at least 1, got 0"):
        watch(every=0)


def test_safe_norm_agrees():
    tree = {"a": jnp.full(3, 1e-30)}
    state = watch().update(tree, watch().init(tree))[1]
    assert state.norms["a"] == safe_norm(tree["a"])
