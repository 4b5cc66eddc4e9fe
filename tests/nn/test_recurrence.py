"""Recurrences with every option, against loops over single sequences in NumPy's float64.

A case is a cell, the kind of its layers, a dtype and what the sequences are like. Outputs and last
state are the loop's, forward and reverse mode are its central differences.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from tests.nn.recurrences import (
    CASES,
    CELLS,
    HIDDEN,
    IN,
    SEQUENCES,
    STEPS,
    build,
    data,
    first_state,
    float64,
    oracle,
    program,
)


@pytest.mark.sampled(16)
@pytest.mark.parametrize(("name", "layers", "sequences", "dtype"), CASES, ids=str)
def test_values_and_both_modes_are_those_of_loops(name, layers, sequences, dtype):
    sequences = SEQUENCES[sequences]
    with jax.enable_x64(dtype == np.float64):
        loss, weights = program(name, layers, sequences, None, dtype)
        point = (weights, *data(sequences, dtype))
        leaves, tree = jax.tree.flatten(point)
        rng = np.random.default_rng(2)
        direction = tree.unflatten([rng.normal(size=leaf.shape).astype(dtype) for leaf in leaves])

        @jax.jit
        def everything(point, direction):
            _, slope, found = jax.jvp(lambda *p: loss(*p), point, direction, has_aux=True)
            gradients = jax.grad(lambda *p: loss(*p)[0], (0, 1, 2))(*point)
            products = jax.tree.map(lambda g, d: jnp.sum(g * d), gradients, direction)
            return found, slope, sum(jax.tree.leaves(products))

        (outputs, last), forward, reverse = everything(point, direction)

    def along(step):
        moved = jax.tree.map(lambda p, d: np.float64(p) + step * np.float64(d), point, direction)
        return oracle(name, layers, sequences, float64(moved[0])["cell"], *moved[1:])

    _, expected, state = along(0.0)
    # Fourth order: the error is h^4 times a fifth derivative of some hundreds, 1e-9 or less.
    h = 1e-3
    near, far = ((along(k * h)[0] - along(-k * h)[0]) / (2 * k * h) for k in (1, 2))
    slope = (4 * near - far) / 3
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(last, state, rtol=0, atol=tolerance)
    bound = 1e-5 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose((forward, reverse), slope, rtol=0, atol=bound * (10 + abs(slope)))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CELLS)
def test_called_layers_give_what_the_recurrence_gives(name):
    sequences = SEQUENCES["all"]
    point = data(sequences, np.float32)
    plain, weights = program(name, "plain", sequences, None, jnp.float32)
    called, _ = program(name, "called", sequences, None, jnp.float32)
    both = jax.jit(lambda *p: [jax.value_and_grad(f, has_aux=True)(*p) for f in (plain, called)])
    found, expected = both(weights, *point)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("layers", ["plain", "LoRA of one"])
def test_bfloat16_is_summed_and_gated_in_float32(name, layers):
    """Products of 16-bit numbers, everything else in float32: for a plain cell the error is of the
    rounded state, inputs and kernels alone, and forward mode is reverse mode."""
    sequences = SEQUENCES["all, given"]
    loss, weights = program(name, layers, sequences, jnp.bfloat16, jnp.float32)
    reference, _ = program(name, layers, sequences, None, jnp.float32)
    x, first = (array.astype(jnp.bfloat16) for array in data(sequences, np.float32))

    @jax.jit
    def everything(weights, x, first):
        def of_scale(s):
            scaled = jax.tree.map(lambda w: s * w, weights)
            return loss(scaled, x, first)[0].astype(jnp.float32)

        wide = reference(weights, x.astype(jnp.float32), first.astype(jnp.float32))[1]
        return (
            loss(weights, x, first)[1],
            wide,
            jax.jvp(of_scale, (1.0,), (1.0,)),
            jax.grad(of_scale)(1.0),
        )

    (outputs, last), (wide_outputs, wide_last), (_, forward), reverse = everything(
        weights, x, first
    )
    assert outputs.dtype == last.dtype == jnp.bfloat16
    eps = float(jnp.finfo(jnp.bfloat16).eps)
    np.testing.assert_allclose(np.float32(outputs), wide_outputs, rtol=0, atol=8 * eps)
    np.testing.assert_allclose(np.float32(last), wide_last, rtol=0, atol=8 * eps)
    # LoRA's own derivatives are rounded to 16 bit.
    np.testing.assert_allclose(forward, reverse, rtol=1e-2 if layers == "plain" else 5e-2)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CELLS)
def test_every_order_of_modes_gives_the_curvature_of_single_steps(name):
    rnn = snn.RNN(build(name, "plain"))
    x = jnp.sin(jnp.arange(2 * STEPS * IN, dtype=jnp.float32)).reshape(2, STEPS, IN)
    graph, state = nnx.split(nnx.RNN(rnn.cell))

    def total(x):
        return jnp.sum(jnp.sin(rnn(x)))

    def step_by_step(x):
        return jnp.sum(jnp.sin(nnx.merge(graph, state, copy=True)(x)))

    @jax.jit
    def products(x):
        return {
            "forward over reverse": jax.jvp(jax.grad(total), (x,), (x,))[1],
            "reverse over forward": jax.grad(lambda y: jax.jvp(total, (y,), (x,))[1])(x),
            "reverse over reverse": jax.grad(lambda y: jnp.sum(jax.grad(total)(y) * x))(x),
        }, jax.jvp(jax.grad(step_by_step), (x,), (x,))[1]

    found, expected = products(x)
    for order, product in found.items():
        np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-5, err_msg=order)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("layers", ["plain", "LoRA"])
@pytest.mark.parametrize("name", CELLS)
def test_no_step_at_all(name, layers, compiled):
    rnn = snn.RNN(build(name, layers))
    first = first_state(name, jnp.linspace(-1, 1, 4 * HIDDEN).reshape(2, 2, HIDDEN))

    def run(rnn, **options):
        x = jnp.zeros((2, 0, IN))
        lengths = jnp.zeros(2, int)
        return rnn(x, initial_carry=first, return_carry=True, seq_lengths=lengths, **options)

    def everything(rnn):
        gradient = nnx.grad(lambda rnn: sum(map(jnp.sum, jax.tree.leaves(run(rnn)))))(rnn)
        return run(rnn, return_gates=True, reverse=True), gradient

    with jax.disable_jit(not compiled):
        (last, outputs, gates), gradient = nnx.jit(everything)(rnn)
    chex.assert_trees_all_equal(last, first)
    chex.assert_shape([outputs, *gates], (2, 0, HIDDEN))
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.slice
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("layers", ["plain", "LoRA"])
def test_a_state_keeps_its_dtype_and_is_float32_on_the_way(name, layers):
    rnn = snn.RNN(build(name, layers, jnp.bfloat16), return_carry=True)
    x = jnp.sin(jnp.arange(2 * 200 * IN)).reshape(2, 200, IN).astype(jnp.bfloat16)
    first = first_state(name, jnp.ones((2, 2, HIDDEN), jnp.bfloat16))
    wide = jax.tree.map(lambda part: part.astype(jnp.float32), first)
    (narrow, outputs), (expected, _) = (rnn(x, initial_carry=c) for c in (first, wide))
    chex.assert_trees_all_equal_dtypes(narrow, first)
    chex.assert_trees_all_equal_dtypes(expected, wide)
    assert outputs.dtype == jnp.bfloat16
    rounded = jax.tree.map(lambda part: part.astype(jnp.bfloat16), expected)
    chex.assert_trees_all_equal(narrow, rounded)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("layers", ["plain", "LoRA of one"])
@pytest.mark.parametrize("name", CELLS)
def test_gates_of_padded_reset_and_reversed_sequences(name, layers):
    """The gates of a step are those that made its state."""
    sequences = SEQUENCES["all"]
    cell = build(name, layers)
    x, _ = data(sequences, np.float32)
    options = {**sequences.options(), "keep_order": True, "return_gates": True}
    _, outputs, gates = jax.jit(lambda x: snn.RNN(cell)(x, **options))(x)
    if name == "LSTMCell":
        chex.assert_shape([*gates], outputs.shape)
        return
    # Where the state is new, nothing of an older one is in it.
    lengths, resets = options["seq_lengths"][..., None], options["resets"]
    steps = np.arange(STEPS)
    after = np.concatenate([resets[..., 1:], np.zeros_like(resets[..., :1])], -1)
    new = (steps < lengths) & (after | (steps == lengths - 1))
    taken = gates.update if name == "MinGRU" else 1 - gates.update
    np.testing.assert_allclose(outputs[new], (taken * gates.candidate)[new], atol=1e-6)
    assert new.any()
