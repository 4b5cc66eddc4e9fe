"""Values and derivatives in blocks, against NumPy's float64 and the whole matrix at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax.nn as snn
from tests.nn.sigmoid_attention.reference import (
    BIAS,
    CASES,
    CT,
    KEY,
    QUERY,
    TERMS,
    VALUE,
    H,
    K,
    N,
    S,
    T,
    attention,
    reference,
    visible,
)


def outputs_and_gradients(query, key, value, ct, options):
    arrays = {n: jnp.asarray(x) for n, x in options.items() if n in ("bias", "logit_bias")}
    others = {n: x for n, x in options.items() if n not in arrays}

    def attend(query, key, value, arrays):
        return attention(query, key, value, **arrays, **others)

    outputs, pull = jax.vjp(attend, query, key, value, arrays)
    return outputs, *pull(ct)


@pytest.mark.usefixtures("small_blocks")
def test_values_and_gradients_are_those_of_float64():
    """Relative to the sums of absolute terms."""
    cases = CASES | TERMS
    program = jax.jit(
        lambda *given: {n: outputs_and_gradients(*given, o) for n, o in cases.items()}
    )
    found = program(QUERY, KEY, VALUE, CT)
    for name, options in cases.items():
        seen = visible(**options)
        terms = {n: options[n] for n in ("bias", "scale", "logit_bias") if n in options}
        _, expected, absolute = reference(QUERY, KEY, VALUE, CT, seen=seen, **terms)
        *arrays, of_terms = found[name]
        for x, y, bound in zip(arrays, expected[:4], absolute[:4], strict=True):
            assert x.dtype == jnp.float32
            assert np.all(np.abs(x - y) <= 1e-6 * bound + 1e-30), name
        dlogits, bound = expected[4], absolute[4]
        for term, gradient in of_terms.items():
            shape = gradient.shape if gradient.ndim == 4 else (1, gradient.size, 1, 1)
            axes = tuple(i for i, size in enumerate(shape) if size == 1)
            off = dlogits.sum(axes).reshape(gradient.shape) - gradient
            assert np.all(np.abs(off) <= 2e-6 * bound.sum(axes).reshape(gradient.shape)), term
        blind = ~seen.any(-1).transpose(0, 2, 1)
        assert np.all(found[name][0][blind] == 0)
        assert np.all(found[name][1][blind] == 0)


@pytest.mark.slice
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_are_rounded_once(dtype):
    query, key, value, ct = (jnp.asarray(x, dtype) for x in (QUERY, KEY, VALUE, CT))
    found, pull = jax.vjp(snn.dot_product_sigmoid_attention, query, key, value)
    _, expected, absolute = reference(query, key, value, ct, seen=visible())
    half_a_step = float(jnp.finfo(dtype).eps) / 2
    arrays = zip((found, *pull(ct)), expected[:4], absolute[:4], strict=True)
    for x, y, bound in arrays:
        assert x.dtype == dtype
        off = np.abs(np.asarray(x, np.float64) - y)
        assert np.all(off <= half_a_step * np.abs(y) + 1e-6 * bound)


def plain(query, key, value, bias):
    """The whole matrix at once."""
    key, value = (jnp.repeat(x, N // K, axis=-2) for x in (key, value))
    logits = jnp.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(H) + bias
    seen = jnp.tril(jnp.ones((T, S), bool))
    logits = logits - jnp.log(seen.sum(-1, keepdims=True).astype(bias.dtype))
    return jnp.einsum("bnts,bsnh->btnh", jnp.where(seen, jax.nn.sigmoid(logits), 0), value)


@pytest.mark.usefixtures("small_blocks")
def test_every_mode_and_order_under_vmap():
    def blocked(query, key, value, bias):
        return attention(query, key, value, bias, is_causal=True)

    def everything(attend, point, direction):
        def loss(point):
            return jnp.sum(jnp.sin(3 * attend(*point)))

        return (
            jax.jvp(lambda *point: attend(*point), point, direction),
            jax.jvp(jax.grad(loss), (point,), (direction,)),  # forward over reverse
            jax.grad(lambda p: jax.jvp(loss, (p,), (direction,))[1])(point),
            jax.grad(jax.checkpoint(loss))(point),
        )

    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        point, direction = (
            tuple(rng.normal(size=(2, *x.shape)) for x in (QUERY, KEY, VALUE, BIAS[:, :1]))
            for _ in range(2)
        )
        ours, theirs = (
            jax.jit(jax.vmap(functools.partial(everything, attend)))(point, direction)
            for attend in (blocked, plain)
        )
    for x, y in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10)


def test_no_array_of_all_pairs_is_held_by_any_derivative():
    """By the compiler's own account, for lengths at which that array would have 64 MiB."""
    n = 4096

    def loss(query, key, value):
        return jnp.sum(snn.dot_product_sigmoid_attention(query, key, value) ** 2)

    def directional(*arrays):
        return jax.jvp(jax.grad(loss, (0, 1, 2)), arrays, arrays)

    x = jax.ShapeDtypeStruct((1, n, 1, 4), jnp.float32)
    for function in (jax.grad(loss, (0, 1, 2)), directional):
        memory = jax.jit(function).lower(x, x, x).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 4 * n * n / 8
