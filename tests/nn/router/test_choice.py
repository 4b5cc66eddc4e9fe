"""Experts and weights of a token, against the definition in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.router.definition import (
    BIAS,
    EXPERTS,
    LOGITS,
    chosen_by_definition,
    log_sigmoid,
    routed,
    router_of_logits,
    weights_by_definition,
)


@pytest.mark.parametrize(
    "groups",
    [
        {},
        {"num_groups": 4, "groups_per_token": 2},
        pytest.param({"num_groups": 8, "groups_per_token": 5}, marks=pytest.mark.proof),
    ],
)
def test_choice_and_weights_are_those_of_the_definition(groups):
    router = router_of_logits(bias=BIAS, experts_per_token=3, route_scale=2.5, **groups)
    routing, gates = routed(router, LOGITS, return_gates=True)
    chosen = np.apply_along_axis(chosen_by_definition, -1, LOGITS, BIAS, 3, **groups)
    np.testing.assert_array_equal(routing.experts, chosen)
    np.testing.assert_allclose(
        routing.weights, 2.5 * weights_by_definition(LOGITS, chosen), rtol=1e-6
    )
    np.testing.assert_allclose(gates, np.exp(log_sigmoid(LOGITS)), rtol=1e-6)
    counts = np.bincount(chosen.ravel(), minlength=EXPERTS)
    np.testing.assert_array_equal(routing.load.counts, counts)
    np.testing.assert_array_equal(routing.load.dropped, 0)
    assert routing.load.counts.dtype == routing.experts.dtype == jnp.int32
    assert float(routing.load.max_over_mean) == pytest.approx(counts.max() / counts.mean())


def test_groups_are_kept_to_where_all_scores_are_negative():
    """Scores of 0 outside of the groups, as in the first public code, would be the largest."""
    router = router_of_logits(bias=-5.0, experts_per_token=4, num_groups=4, groups_per_token=2)
    groups = np.sort(np.asarray(routed(router, LOGITS).experts) // 2, axis=-1)
    assert np.all(groups[..., 0] == groups[..., 1])
    assert np.all(groups[..., 2] == groups[..., 3])


# Rows of logits of which the first two are chosen.
SATURATED = [
    [50, 49, -50, -60],
    [-50, -51, -55, -60],
    [-200, -200.5, -201, -300],
    [0, -25, -50, -100],
    [30, -30, -200, -250],
    [88, 17, -3000, -3100],
    [-1000, -1001, -1002, -1003],
]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("k", [2, 3])
def test_saturated_logits_have_right_weights_and_gradients(dtype, k):
    """All digits, also where all affinities of the chosen are 0 in float32 or all are 1."""
    logits = jnp.asarray(SATURATED, dtype)
    # What is exactly a tie in float32 has its order from the bias.
    router = router_of_logits(4, np.float32([0.3, 0.2, 0.1, 0]), experts_per_token=k)
    cotangent = np.float32([1.0, -0.5, 0.75])[:k]

    def total(logits):
        routing = router(logits)
        return jnp.sum(routing.weights * cotangent.reshape(1, k)), routing

    (_, routing), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(logits)
    z = np.float64(logits)
    scores = np.exp(log_sigmoid(z)) + np.array([0.3, 0.2, 0.1, 0])
    chosen = np.argsort(-scores, axis=-1, kind="stable")[:, :k]
    np.testing.assert_array_equal(routing.experts, chosen)
    w = weights_by_definition(z, chosen)
    assert routing.weights.dtype == jnp.float32
    # An ulp of the logarithm of a share is a relative error of the share.
    allowed = 2.0**-23 * (8 + abs(np.log(np.maximum(w, 1e-37)))) * w
    assert np.all(abs(routing.weights - w) <= allowed + 1e-37)
    pairs = w[:, :, None] * w[:, None, :]
    slopes = np.sum(pairs * (cotangent[:, None] - cotangent[None, :]), axis=2)
    terms = np.sum(pairs * (abs(cotangent[:, None]) + abs(cotangent[None, :])), axis=2)
    complements = np.exp(log_sigmoid(-np.take_along_axis(z, chosen, -1)))
    found = np.take_along_axis(np.float64(gradient), chosen, -1)
    eps = float(jnp.finfo(dtype).eps)
    off = abs(found - slopes * complements)
    allowed = eps * (8 + abs(np.log(np.maximum(w, 1e-37)))) * terms * complements
    assert np.all(off <= allowed + 1e-37)
    assert gradient.dtype == dtype
    others = np.ones_like(z, bool)
    np.put_along_axis(others, chosen, False, -1)
    np.testing.assert_array_equal(np.float32(gradient)[others], 0)


def test_unnormalized_weights_are_the_affinities_and_a_single_expert_learns():
    router = router_of_logits(experts_per_token=1, normalize=False)

    def total(x):
        weights = router(x).weights
        return jnp.sum(weights), weights

    slope, weights = jax.jit(jax.grad(total, has_aux=True))(LOGITS)
    chosen = LOGITS.argmax(-1)[..., None]
    largest = np.take_along_axis(LOGITS, chosen, -1)
    np.testing.assert_allclose(weights, np.exp(log_sigmoid(largest)), rtol=1e-6)
    expected = np.exp(log_sigmoid(largest) + log_sigmoid(-largest))
    np.testing.assert_allclose(np.take_along_axis(slope, chosen, -1), expected, rtol=1e-6)


def test_ties_go_to_the_lowest_index_however_they_are_computed():
    router = router_of_logits(experts_per_token=3, num_groups=4, groups_per_token=3)
    # Equal; rounded to 1; underflown to 0.
    logits = jnp.float32(jnp.array([[0.5], [90.0], [-200.0]])) + jnp.zeros((3, EXPERTS))
    expected = np.broadcast_to(np.arange(3), (3, 3))
    for call in (router, jax.vmap(router)):
        np.testing.assert_array_equal(jax.jit(call)(logits).experts, expected)
