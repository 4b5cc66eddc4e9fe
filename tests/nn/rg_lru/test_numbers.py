"""Values and derivatives of every order, against NumPy's float64 and other forms of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sigjax.nn._rg_lru import _linear_recurrence as recurrences
from sigjax.nn._rg_lru._sequence import CHUNK
from tests.nn.rg_lru import reference
from tests.nn.rg_lru.units import (
    data,
    program,
    unit,
    weights_of,
)


def close(found, expected, tolerance):
    """Relative to the largest element of each array."""
    for path, leaf in jax.tree.leaves_with_path(expected):
        other = functools.reduce(lambda tree, key: tree[key.key], path, found)
        np.testing.assert_allclose(other, leaf, rtol=0, atol=tolerance * np.max(np.abs(leaf)))


def test_values_and_gradients_are_numpys():
    x, first, cotangent, starts = data()
    with jax.enable_x64(True):
        cell = unit(param_dtype=jnp.float64)
        run, weights = program(cell, resets=starts)

        @jax.jit
        def everything(*at):
            states, pull = jax.vjp(lambda *args: run(*args)[0], *at)
            return states, pull(jnp.asarray(cotangent))

        found, (of_weights, of_x, of_first) = everything(weights, x, first)
    known = weights_of(cell)
    np.testing.assert_allclose(found, reference.states(known, x, first, starts), atol=1e-13)
    expected = reference.gradients(known, x, first, cotangent, starts)
    close(nnx.to_pure_dict(of_weights)["cell"], expected[0], 1e-12)
    np.testing.assert_allclose(of_x, expected[1], atol=1e-12)
    np.testing.assert_allclose(of_first, expected[2], atol=1e-12)


def test_forward_mode_and_second_order():
    x, first, cotangent, _ = data(steps=CHUNK * 2)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        run, weights = program(unit(param_dtype=jnp.float64))
        at = weights, jnp.asarray(x), jnp.asarray(first)
        along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)

        def loss(*args):
            return jnp.sum(jnp.sin(run(*args)[0]) * cotangent)

        gradient = jax.grad(loss, (0, 1, 2))

        def slope(*args):
            return jax.jvp(loss, args, along)[1]

        @jax.jit
        def everything(args):
            by_reverse = sum(map(jnp.vdot, *map(jax.tree.leaves, (gradient(*args), along))))
            forward_over_reverse = jax.jvp(gradient, args, along)[1]
            reverse_over_forward = jax.grad(slope, (0, 1, 2))(*args)
            moved = [
                gradient(*jax.tree.map(lambda a, b, sign=sign: a + sign * 1e-5 * b, args, along))
                for sign in (1, -1)
            ]
            difference = jax.tree.map(lambda a, b: (a - b) / 2e-5, *moved)
            return slope(*args), by_reverse, forward_over_reverse, reverse_over_forward, difference

        forward, by_reverse, first_way, second_way, difference = everything(at)
    assert float(forward) == pytest.approx(float(by_reverse), rel=1e-12)
    for ours, others, slow in zip(
        *map(jax.tree.leaves, (first_way, second_way, difference)), strict=True
    ):
        scale = np.max(np.abs(slow))
        np.testing.assert_allclose(ours, others, atol=1e-11 * scale)
        np.testing.assert_allclose(ours, slow, atol=1e-6 * scale)


@pytest.mark.slice
def test_the_parallel_form_is_the_sequential_one():
    x, first, cotangent, _ = data(steps=37)
    with jax.enable_x64(True):
        forgotten = jnp.asarray(np.random.default_rng(2).random(x.shape) ** 4)
        at = forgotten.at[::11].set(1.0), jnp.asarray(x), jnp.asarray(first)
        along = tuple(jnp.cos(7 * part) for part in at)

        def everything(form):
            states, pull = jax.vjp(form, *at)
            return states, pull(jnp.asarray(cotangent)), jax.jvp(form, at, along)[1]

        forms = recurrences.linear_recurrence, recurrences.sequential, recurrences.parallel
        ruled, *found = jax.jit(lambda: [everything(form) for form in forms])()
    for other in found:
        for leaf, expected in zip(*map(jax.tree.leaves, (other, ruled)), strict=True):
            np.testing.assert_allclose(leaf, expected, atol=1e-13 * np.max(np.abs(expected)))
    assert np.all(np.asarray(ruled[0])[::11] == x[::11])  # all is forgotten


@pytest.mark.proof
def test_memory_is_that_of_a_chunk():
    """Twice the steps need three arrays of the inputs' size more at most; plainly written, 14."""
    sizes = []
    for steps in (8 * CHUNK, 16 * CHUNK):
        run, weights = program(unit(features=64))
        x = jax.ShapeDtypeStruct((steps, 2, 64), jnp.float32)

        def loss(weights, x):
            return jnp.sum(jnp.sin(run(weights, x, jnp.zeros((2, 64)))[0]))  # noqa: B023

        compiled = jax.jit(jax.grad(loss, (0, 1))).lower(weights, x).compile()
        whole = steps * 2 * 64 * 4
        sizes.append((compiled.memory_analysis().temp_size_in_bytes, whole))
    (short, one), (long, two) = sizes
    assert long - short <= 3 * (two - one)
