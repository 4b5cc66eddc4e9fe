"""Capacity, padding, and the bias that balances the load."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from tests.nn.router.definition import BIAS, EXPERTS, LOGITS, routed, router_of_logits


@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_what_exceeds_the_capacity_is_dropped_in_order(factor):
    logits = LOGITS + np.linspace(2, 0, EXPERTS, dtype=np.float32)
    router = router_of_logits(experts_per_token=2, capacity_factor=factor)
    kept = routed(router, logits)
    free = routed(router_of_logits(experts_per_token=2), logits)
    capacity = math.ceil(factor * 15 * 2 / EXPERTS)
    experts = np.asarray(free.experts).reshape(15, 2)
    places, dropped = np.zeros(EXPERTS, int), np.zeros(EXPERTS, int)
    expected = experts.copy()
    for choice in range(2):
        for token in range(15):
            expert = experts[token, choice]
            if places[expert] == capacity:
                expected[token, choice] = EXPERTS
                dropped[expert] += 1
            else:
                places[expert] += 1
    assert 0 < dropped.sum() < 30
    np.testing.assert_array_equal(np.asarray(kept.experts).reshape(15, 2), expected)
    np.testing.assert_array_equal(kept.load.dropped, dropped)
    np.testing.assert_array_equal(kept.load.counts, free.load.counts)
    assert float(kept.load.dropped_share) == pytest.approx(dropped.sum() / 30)
    has_place = np.asarray(kept.experts) < EXPERTS
    np.testing.assert_array_equal(kept.weights, np.where(has_place, free.weights, 0))


def test_a_factor_that_binary_fractions_round_is_exact():
    """1.1 of 100 choices over 10 experts are 11, and 1.1 * 10 is 11.000000000000002."""
    router = router_of_logits(10, experts_per_token=1, capacity_factor=1.1)
    load = routed(router, np.tile(-np.arange(10, dtype=np.float32), (100, 1))).load
    assert int(load.counts[0]) - int(load.dropped[0]) == 11


def test_padding_goes_nowhere_and_takes_no_place():
    where = np.arange(15).reshape(3, 5) % 3 > 0
    router = router_of_logits(experts_per_token=2, capacity_factor=4.0)
    routing = routed(router, LOGITS, where=where)
    alone = routed(router_of_logits(experts_per_token=2), LOGITS[where])
    np.testing.assert_array_equal(np.asarray(routing.experts)[where], alone.experts)
    np.testing.assert_array_equal(np.asarray(routing.weights)[where], alone.weights)
    np.testing.assert_array_equal(np.asarray(routing.experts)[~where], EXPERTS)
    np.testing.assert_array_equal(np.asarray(routing.weights)[~where], 0)
    np.testing.assert_array_equal(routing.load.counts, alone.load.counts)
    np.testing.assert_array_equal(routing.load.dropped, 0)


def test_the_bias_is_no_parameter_and_has_no_gradient():
    router = router_of_logits(bias=BIAS, experts_per_token=2)
    graph, bias, rest = nnx.split(router, snn.RouterBias, ...)

    def total(bias):
        weights = nnx.merge(graph, bias, rest)(LOGITS).weights
        return jnp.sum(weights**2), weights

    slope = jax.jit(jax.grad(total, has_aux=True))
    found, weights = slope(bias)
    np.testing.assert_array_equal(found.bias[...], 0)
    assert set(nnx.to_pure_dict(nnx.state(router, nnx.Param))) == {"linear"}
    _, moved = slope(jax.tree.map(lambda b: b + 7, bias))
    np.testing.assert_array_equal(moved, weights)


def test_the_bias_moves_against_the_load():
    counts = np.array([[5, 3, 1, 3], [4, 0, 0, 0], [2, 2, 2, 2], [2, 2, 2, 1]], np.int32)
    update = jax.jit(snn.update_router_bias, static_argnames="rate")
    found = update(jnp.ones((4, 4)), counts, rate=0.25)
    expected = 1 + 0.25 * np.sign(counts.mean(-1, keepdims=True) - counts)
    np.testing.assert_array_equal(found, expected)
    # A mean that float32 would round to the smaller count.
    large = jnp.array([2**24 + 1, 2**24], jnp.int32)
    np.testing.assert_array_equal(update(jnp.zeros(2), large, rate=1.0), [-1, 1])
    with pytest.raises(TypeError, match="'counts' must be integers"):
        snn.update_router_bias(jnp.zeros(2), jnp.zeros(2))


@nnx.jit
def loads_of_steps(router, keys, direction):
    """The counts of steps over tokens with a common direction, the bias updated after each."""

    def step(router, key):
        load = router(jax.random.normal(key, (512, 16)) + direction[None]).load
        router.update_bias(load)
        return router, load.counts

    return nnx.scan(step, in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))(router, keys)[1]


def test_skewed_tokens_are_balanced_without_an_auxiliary_loss():
    """DeepSeek-V3's rate of .001, on experts that some tokens like and others never choose."""
    router = snn.SigmoidRouter(16, EXPERTS, experts_per_token=2, rngs=nnx.Rngs(0))
    direction = 2 * jnp.sin(jnp.arange(16.0))
    keys = jax.random.split(jax.random.key(0), 1200)
    counts = np.asarray(loads_of_steps(router, keys, direction))
    assert counts.sum() == 1200 * 512 * 2
    before, after = (
        float(snn.RouterLoad(jnp.asarray(some.sum(0)), jnp.zeros(EXPERTS, int)).max_over_mean)
        for some in (counts[:20], counts[-100:])
    )
    assert before > 2
    assert after < 1.1
    assert np.all(counts[-100:].max(-1) / counts.mean() < 1.5)


def test_the_load_of_no_tokens():
    load = snn.RouterLoad(jnp.zeros(3, jnp.int32), jnp.zeros(3, jnp.int32))
    assert load.max_over_mean == load.dropped_share == 0
