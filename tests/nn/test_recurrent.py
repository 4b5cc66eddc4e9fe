"""Gated cells against Flax's, and against themselves step by step."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from sigjax import sigmoid

IN, HIDDEN, BATCH, STEPS = 5, 8, 3, 12
CELLS = {"GRUCell": (snn.GRUCell, nnx.GRUCell), "LSTMCell": (snn.LSTMCell, nnx.LSTMCell)}
X = np.random.default_rng(0).normal(size=(BATCH, STEPS, IN)).astype(np.float32)


def with_flax_parameters(name, **options):
    ours, theirs = CELLS[name]
    peer = theirs(IN, HIDDEN, rngs=nnx.Rngs(3), **options)
    cell = ours(IN, HIDDEN, rngs=nnx.Rngs(4), **options)
    nnx.update(cell, nnx.state(peer, nnx.Param))  # the same names and shapes
    return cell, peer


def value_and_gradients(rnn, x):
    graph, parameters, rest = nnx.split(rnn, nnx.Param, ...)

    def loss(parameters, x):
        outputs = nnx.merge(graph, parameters, rest, copy=True)(x).astype(jnp.float32)
        return jnp.sum(jnp.sin(3 * outputs)), outputs

    (_, outputs), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(parameters, x)
    parameters = nnx.to_pure_dict(gradients[0])
    return outputs, gradients[1], parameters["cell"]


def apply(rnn, x, **options):
    """Runs it from within a transformation: Flax wants a module of that very trace."""
    return nnx.merge(*nnx.split(rnn), copy=True)(x, **options)


def assert_equal_to(tolerance, found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jnp.max(jnp.abs(ours - theirs)) <= tolerance * max(1.0, jnp.max(jnp.abs(theirs)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_gradients_of_flax(name):
    cell, peer = with_flax_parameters(name)
    runs = [snn.RNN(cell), nnx.RNN(cell), nnx.RNN(peer)]
    *found, expected = jax.jit(lambda x: [value_and_gradients(run, x) for run in runs])(X)
    for ours in found:
        assert_equal_to(1e-6, ours, expected)


@pytest.mark.parametrize("name", CELLS)
def test_the_same_seed_draws_flaxs_parameters(name):
    ours, theirs = (cell(IN, HIDDEN, rngs=nnx.Rngs(7)) for cell in CELLS[name])
    states = (nnx.to_pure_dict(nnx.state(cell, nnx.Param)) for cell in (ours, theirs))
    chex.assert_trees_all_equal(*states)


CASES = {"GRUCell": snn.GRUCell, "LSTMCell": snn.LSTMCell, "MinGRU": snn.MinGRU}


def by_both(name, options, x, **call):
    """What our and Flax's runner give for each of the options, in one program."""
    cell = CASES[name](IN, HIDDEN, rngs=nnx.Rngs(0))

    @jax.jit
    def run(x):
        return [
            [apply(rnn(cell, **o), x.swapaxes(0, 1) if o.get("time_major") else x, **call)
             for rnn in (snn.RNN, nnx.RNN)]
            for o in options
        ]  # fmt: skip

    return run(x)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CASES)
def test_the_recurrence_is_the_cell_step_by_step(name):
    options = [
        {},
        {"time_major": True},
        {"reverse": True},
        {"reverse": True, "keep_order": True},
        {"return_carry": True},
        {"unroll": 3},
    ]
    for given, (found, expected) in zip(options, by_both(name, options, X), strict=True):
        chex.assert_trees_all_close(
            found, expected, rtol=1e-5, atol=1e-6, custom_message=str(given)
        )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", CASES)
def test_sequences_of_several_lengths(name):
    options = [
        {"return_carry": carry, "reverse": reverse}
        for carry in (False, True)
        for reverse in (False, True)
    ]
    both = by_both(name, options, X, seq_lengths=np.array([12, 7, 1]))
    for given, (found, expected) in zip(options, both, strict=True):
        chex.assert_trees_all_close(
            found, expected, rtol=1e-5, atol=1e-6, custom_message=str(given)
        )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("shape", [(STEPS, IN), (2, 3, STEPS, IN), (0, STEPS, IN), (3, 1, IN)])
@pytest.mark.parametrize("name", CASES)
def test_any_batch_shape(name, shape):
    cell = CASES[name](IN, HIDDEN, rngs=nnx.Rngs(0))
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    @jax.jit
    def both(x):
        expected = apply(nnx.RNN(cell), x) if x.size else None
        return apply(snn.RNN(cell), x, return_gates=True), expected

    (outputs, gates), expected = both(x)
    chex.assert_shape([outputs, *gates], (*shape[:-1], HIDDEN))
    if x.size:
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.sampled(3, 1)
@pytest.mark.parametrize("name", CASES)
def test_the_first_state_is_where_it_starts_and_gets_its_gradient(name):
    cell = CASES[name](IN, HIDDEN, rngs=nnx.Rngs(0))
    first = cell.initialize_carry((BATCH, IN), nnx.Rngs(1), jax.nn.initializers.normal(1.0))

    def total(first, runner):
        outputs = apply(runner(cell), X, initial_carry=first)
        return jnp.sum(jnp.sin(3 * outputs))

    @jax.jit
    def both(first):
        return [jax.value_and_grad(total)(first, runner) for runner in (snn.RNN, nnx.RNN)]

    found, expected = both(first)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.sampled(2, 1)
@pytest.mark.parametrize("name", CELLS)
def test_gates_are_those_of_each_step_and_have_gradients(name):
    cell = CELLS[name][0](IN, HIDDEN, rngs=nnx.Rngs(0))
    graph, parameters, rest = nnx.split(snn.RNN(cell), nnx.Param, ...)
    x = X[:, :4]

    def fast(parameters):
        rnn = nnx.merge(graph, parameters, rest, copy=True)
        outputs, gates = rnn(x, return_gates=True)
        return jnp.sum(outputs) + sum(jnp.sum(gate**3) for gate in gates), gates

    def stepwise(parameters):
        cell = nnx.merge(graph, parameters, rest, copy=True).cell
        carry = cell.initialize_carry((BATCH, IN), nnx.Rngs(0))
        total, kept = 0.0, []
        for t in range(x.shape[1]):
            carry, output, gates = cell(carry, x[:, t], return_gates=True)
            total += jnp.sum(output) + sum(jnp.sum(gate**3) for gate in gates)
            kept.append(gates)
        return total, jax.tree.map(lambda *gates: jnp.stack(gates, axis=1), *kept)

    @jax.jit
    def both(parameters):
        return [jax.value_and_grad(f, has_aux=True)(parameters) for f in (fast, stepwise)]

    found, expected = both(parameters)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_min_gru_in_parallel_is_min_gru_in_sequence():
    """Within 1e-5 over 4,096 steps."""
    cell = snn.MinGRU(IN, HIDDEN, max_time=4000, rngs=nnx.Rngs(0))
    x = np.random.default_rng(2).normal(size=(2, 4096, IN)).astype(np.float32)
    found, expected = jax.jit(lambda x: [apply(rnn(cell), x) for rnn in (snn.RNN, nnx.RNN)])(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_state_is_kept_in_float32():
    for name, (ours, _) in CELLS.items():
        cell = ours(IN, HIDDEN, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        carry = cell.initialize_carry((BATCH, IN), nnx.Rngs(0))
        assert all(part.dtype == jnp.float32 for part in jax.tree.leaves(carry)), name
        carry, output, gates = cell(carry, X[:, 0].astype(jnp.bfloat16), return_gates=True)
        assert all(part.dtype == jnp.float32 for part in jax.tree.leaves((carry, gates)))
        assert output.dtype == jnp.bfloat16
        narrow = jax.tree.map(lambda part: part.astype(jnp.bfloat16), carry)
        kept, _ = cell(narrow, X[:, 0].astype(jnp.bfloat16))
        assert all(part.dtype == jnp.bfloat16 for part in jax.tree.leaves(kept))


def test_a_gate_that_is_nearly_open_still_lets_new_things_in():
    """In bfloat16 1 - sigma(8) is 0, and so is its gradient: Flax's state never changes."""
    bias = jnp.concatenate([jnp.zeros(4), jnp.full(4, 8.0), jnp.ones(4)])

    def change(cell_type, bias):
        cell = cell_type(3, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        cell.dense_i.bias[...] = bias
        with jax.numpy_dtype_promotion("standard"):  # Flax's cell adds bfloat16 to float32
            return jnp.sum(cell(jnp.zeros((1, 4)), jnp.zeros((1, 3)))[0].astype(jnp.float32))

    assert change(nnx.GRUCell, bias) == 0
    expected = 4 * np.tanh(1) / (1 + np.exp(8))
    assert not jnp.any(jax.grad(lambda b: change(nnx.GRUCell, b))(bias)[4:8])
    found, slope = jax.jit(jax.value_and_grad(lambda b: change(snn.GRUCell, b)))(bias)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    slope = slope[4:8]
    np.testing.assert_allclose(slope, -np.tanh(1) * np.exp(8) / (1 + np.exp(8)) ** 2, rtol=1e-5)


def test_chrono_biases():
    # An orthogonal matrix of 1,000 columns takes a second, and no bias sees it.
    options = {"recurrent_kernel_init": nnx.initializers.zeros, "rngs": nnx.Rngs(0)}
    gru = snn.GRUCell(3, 1000, max_time=100, **options).dense_i.bias[...]
    reset, update, candidate = jnp.split(gru, 3)
    assert not jnp.any(reset)
    assert not jnp.any(candidate)
    lstm = snn.LSTMCell(3, 1000, max_time=100, **options)
    min_gru = snn.MinGRU(3, 1000, max_time=100, rngs=nnx.Rngs(0)).dense_i.bias[...]
    assert not jnp.any(min_gru[1000:])
    for bias in (update, lstm.hf.bias[...], -lstm.hi.bias[...], -min_gru[:1000]):
        memory = 1 / (1 - np.float64(sigmoid(bias)))
        assert 2 <= memory.min() < 4
        assert 98 < memory.max() <= 100.1
        assert memory.mean() == pytest.approx(51, abs=3)


def test_forget_bias():
    cell = snn.LSTMCell(3, 4, forget_bias_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
    assert jnp.all(cell.hf.bias[...] == 1)
    assert not any(jnp.any(linear.bias[...]) for linear in (cell.hi, cell.hg, cell.ho))


def test_a_cell_derived_from_ours_keeps_its_own_step():
    class Leaky(snn.GRUCell):
        def __call__(self, carry, inputs):
            carry, output = super().__call__(carry, inputs)
            return 0.5 * carry, output

    cell = Leaky(IN, HIDDEN, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(snn.RNN(cell)(X), nnx.RNN(cell)(X))
    with pytest.raises(TypeError, match=r"'return_gates' must come with a cell of sigjax\.nn"):
        snn.RNN(cell)(X, return_gates=True)


@pytest.mark.slice
def test_any_other_cell_runs_too():
    cell = nnx.SimpleCell(IN, HIDDEN, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(snn.RNN(cell)(X), nnx.RNN(cell)(X))


def test_other_gate_functions():
    cell = snn.GRUCell(IN, HIDDEN, gate_fn=jax.nn.hard_sigmoid, rngs=nnx.Rngs(0))
    peer = nnx.GRUCell(IN, HIDDEN, gate_fn=jax.nn.hard_sigmoid, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(snn.RNN(cell)(X), nnx.RNN(peer)(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_refusals(name):
    cell = CASES[name](IN, HIDDEN, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"'inputs' must have 5 features .*\(3, 12, 4\)"):
        snn.RNN(cell)(X[..., :4])
    with pytest.raises(ValueError, match="min_time < max_time"):
        CASES[name](IN, HIDDEN, max_time=1.0, rngs=nnx.Rngs(0))


def test_no_rngs_no_random_state():
    cell = snn.GRUCell(IN, HIDDEN, rngs=nnx.Rngs(0))
    assert not jnp.any(cell.initialize_carry((BATCH, IN)))
    with pytest.raises(ValueError, match="'rngs' must be"):
        cell.initialize_carry((BATCH, IN), carry_init=jax.nn.initializers.normal())


def test_one_forget_bias_only():
    with pytest.raises(ValueError, match="'max_time' and 'forget_bias_init' must not both"):
        snn.LSTMCell(3, 4, max_time=9, forget_bias_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
