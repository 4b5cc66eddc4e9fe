"""Tokens sorted by expert and brought back, in mixtures of experts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import sigjax.nn as snn
from tests.nn.router.definition import routed
from tests.nn.router.mixtures import EXPERTS, KERNELS, TOKENS, a_router, every_expert, mixture


def careless_dot(rows, kernels, sizes):
    """A product that leaves NaN where there is no group, forward and in reverse."""

    @jax.custom_vjp
    def product(rows):
        return spoiled(lax.ragged_dot(rows, kernels, sizes))

    def spoiled(made):
        grouped = jnp.arange(made.shape[0])[:, None] < sizes.sum()
        return jnp.where(grouped, made, jnp.nan)

    def reverse(rows, cotangent):
        (slope,) = jax.vjp(lambda rows: lax.ragged_dot(rows, kernels, sizes), rows)[1](cotangent)
        return (spoiled(slope),)

    product.defvjp(lambda rows: (product(rows), rows), reverse)
    return product(rows)


def test_dispatch_sorts_by_expert_and_leaves_strangers_behind():
    experts = np.random.default_rng(4).integers(-2, 6, size=(3, 5, 2)).astype(np.int32)
    tokens = np.random.default_rng(5).normal(size=(3, 5, 7)).astype(np.float32)
    weights = np.random.default_rng(6).normal(size=(3, 5, 2)).astype(np.float32)

    @jax.jit
    def there_and_back(experts, tokens, weights):
        plan = snn.dispatch(experts, 4)
        rows = plan.gather(tokens)
        is_ours = jnp.arange(30)[:, None] < jnp.sum(plan.group_sizes)
        return plan, rows, plan.combine(jnp.where(is_ours, rows, jnp.nan), weights)

    plan, rows, found = there_and_back(experts, tokens, weights)
    flat = experts.ravel()
    order = sorted(range(30), key=lambda i: (flat[i] if 0 <= flat[i] < 4 else 4, i))
    np.testing.assert_array_equal(plan.order, order)
    np.testing.assert_array_equal(plan.group_sizes, [(flat == e).sum() for e in range(4)])
    np.testing.assert_array_equal(np.asarray(plan.places).ravel()[order], range(30))
    ours = np.arange(30)[:, None] < plan.group_sizes.sum()
    in_order = tokens.reshape(15, 7)[np.array(order) // 2]
    np.testing.assert_array_equal(rows, np.where(ours, in_order, 0))
    of_ours = np.where((experts >= 0) & (experts < 4), weights, 0).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, tokens * of_ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("capacity_factor", [pytest.param(None, marks=pytest.mark.proof), 1.0])
def test_a_mixture_has_the_values_and_gradients_of_all_experts_masked(capacity_factor):
    router = a_router(capacity_factor=capacity_factor)
    graph, state = nnx.split(router)

    def of(layer):
        def total(state, tokens, kernels):
            y = layer(nnx.merge(graph, state)(tokens), tokens, kernels)
            return jnp.sum(jnp.sin(y)), y

        gradient = jax.value_and_grad(total, (0, 1, 2), has_aux=True, allow_int=True)
        return jax.jit(gradient)(state, TOKENS, KERNELS)

    for found, expected in zip(
        *map(jax.tree.leaves, map(of, (mixture, every_expert))), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_rows_of_no_group_do_not_count_whatever_a_product_makes_of_them():
    experts = np.arange(80, dtype=np.int32).reshape(4, 10, 2) % 11  # 8 to 10 are nobody
    weights = np.linspace(-1, 1, 80, dtype=np.float32).reshape(experts.shape)

    def of(product):
        def total(tokens, weights):
            plan = snn.dispatch(experts, EXPERTS)
            made = product(plan.gather(tokens), KERNELS, plan.group_sizes)
            return jnp.sum(jnp.sin(plan.combine(made, weights)))

        return jax.jit(jax.value_and_grad(total, (0, 1)))(TOKENS, weights)

    for found, expected in zip(
        *map(jax.tree.leaves, map(of, (careless_dot, lax.ragged_dot))), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_sixteen_bit_tokens_are_routed_and_combined_in_float32():
    tokens, kernels = jnp.asarray(TOKENS, jnp.bfloat16), jnp.asarray(KERNELS, jnp.bfloat16)
    router = a_router()

    @jax.jit
    def both(tokens, kernels):
        routing = router(tokens)
        wide = (x.astype(jnp.float32) for x in (tokens, kernels))
        return routing, mixture(routing, tokens, kernels), every_expert(routing, *wide)

    routing, found, expected = both(tokens, kernels)
    assert routing.weights.dtype == jnp.float32
    again = routed(router, tokens.astype(jnp.float32))
    np.testing.assert_array_equal(routing.experts, again.experts)
    assert found.dtype == jnp.bfloat16
    error = np.linalg.norm(np.float32(found) - expected) / np.linalg.norm(expected)
    assert error < float(jnp.finfo(jnp.bfloat16).eps)


def test_under_vmap_each_part_is_a_call_of_its_own():
    """Rows, kernels and sizes are mapped over their first axis, which is all ragged_dot can."""
    router = a_router(capacity_factor=1.0)
    every = jnp.stack([KERNELS * (1 + i) for i in range(4)])

    def layer(tokens, kernels):
        routing = router(tokens)
        return mixture(routing, tokens, kernels), routing

    def slopes(tokens, kernels):
        return jax.grad(lambda *a: jnp.sum(layer(*a)[0] ** 2), (0, 1))(tokens, kernels)

    together = jax.jit(lambda *a: (jax.vmap(layer)(*a), jax.vmap(slopes)(*a)))(TOKENS, every)
    one = jax.jit(lambda *a: (layer(*a), slopes(*a)))
    for i in range(4):
        alone = one(TOKENS[i], every[i])
        for found, expected in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-5, atol=1e-5)
