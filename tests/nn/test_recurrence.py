"""Recurrences with every option, against loops over single sequences in NumPy's float64.

A case is a cell, the kind of its layers, a dtype and what the sequences are like. Outputs and last
state are the loop's, forward and reverse mode are its central differences.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import sigjax
import sigjax.nn as snn

IN, HIDDEN, STEPS = 3, 4, 6
CELLS = {"GRUCell": snn.GRUCell, "LSTMCell": snn.LSTMCell, "MinGRU": snn.MinGRU}
SLOTS = {
    "GRUCell": ("dense_i", "dense_h"),
    "LSTMCell": ("ii", "if_", "ig", "io", "hi", "hf", "hg", "ho"),
    "MinGRU": ("dense_i",),
}


class Doubled(nnx.Linear):
    def __call__(self, inputs):
        return 2 * super().__call__(inputs)


class Called(nnx.Linear):
    """A plain layer that says it is none."""


def lora(old, rngs):
    options = {"b_initializer": nnx.initializers.normal(0.3), "use_bias": old.use_bias}
    shared = {"dtype": old.dtype, "param_dtype": old.param_dtype, "lora_dtype": old.dtype}
    sizes = old.in_features, old.out_features
    return nnx.LoRALinear(
        *sizes, lora_rank=2, rngs=rngs, lora_param_dtype=old.param_dtype, **shared, **options
    )


def another(kind, **options):
    def replace(old, rngs):
        shared = {"use_bias": old.use_bias, "dtype": old.dtype, "param_dtype": old.param_dtype}
        sizes = old.in_features, old.out_features
        bias_init = nnx.initializers.normal(0.5)
        return kind(*sizes, rngs=rngs, bias_init=bias_init, **{**shared, **options})

    return replace


# name: (what is put in place of a layer, which of them)
LAYERS = {
    "plain": (lambda old, rngs: old, slice(0)),
    "every bias": (another(nnx.Linear, use_bias=True), slice(None)),
    "no bias": (another(nnx.Linear, use_bias=False), slice(None)),
    "LoRA": (lora, slice(None)),
    "LoRA of one": (lora, slice(1)),
    "a subclass": (another(Doubled), slice(None)),
    "called": (another(Called), slice(None)),
}


@dataclasses.dataclass(frozen=True)
class Sequences:
    """What is run: its batch axes, and the options of the call."""

    batch: tuple = (3,)
    lengths: bool = False
    resets: bool = False
    time_major: bool = False
    reverse: bool = False
    given: bool = True  # the first state

    def options(self):
        rng = np.random.default_rng(1)
        options = {"time_major": self.time_major, "reverse": self.reverse, "return_carry": True}
        if self.lengths:
            lengths = rng.integers(0, STEPS + 1, self.batch)
            lengths.flat[:2] = 0, STEPS
            options["seq_lengths"] = lengths
        if self.resets:
            resets = rng.random((*self.batch, STEPS)) < 0.4
            resets[..., 0] = rng.random(self.batch) < 0.5
            options["resets"] = np.moveaxis(resets, -1, 0) if self.time_major else resets
        return options


SEQUENCES = {
    "one batch axis": Sequences(),
    "none": Sequences(batch=(), given=False),
    "lengths": Sequences(batch=(2, 3), lengths=True),
    "resets": Sequences(resets=True, time_major=True),
    "all": Sequences(batch=(2, 2), lengths=True, resets=True, reverse=True, given=False),
    "all, given": Sequences(batch=(4,), lengths=True, resets=True, reverse=True, time_major=True),
}


def build(name, layers, dtype=None, param_dtype=jnp.float32):
    cell = CELLS[name](
        IN,
        HIDDEN,
        max_time=9,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=nnx.Rngs(0),
        **({"hidden_bias": True} if layers == "every bias" and name == "GRUCell" else {}),
    )
    replace, which = LAYERS[layers]
    for seed, slot in enumerate(SLOTS[name][which]):
        setattr(cell, slot, replace(getattr(cell, slot), nnx.Rngs(seed + 1)))
    return cell


def data(sequences, dtype):
    rng = np.random.default_rng(0)
    shape = (*sequences.batch, STEPS, IN)
    x = rng.normal(size=shape).astype(dtype)
    x = np.moveaxis(x, -2, 0) if sequences.time_major else x
    first = rng.normal(size=(2, *sequences.batch, HIDDEN)).astype(dtype)
    return jnp.asarray(x), jnp.asarray(first)


def first_state(name, first):
    return (first[0], first[1]) if name == "LSTMCell" else first[0]


# The oracle: one sequence, one step, one gate after the other.


def logistic(x):
    return 1 / (1 + np.exp(-x))


def affine(layer, x):
    bias = 0 if layer.get("bias") is None else layer["bias"]
    product = x @ layer["kernel"]
    if "lora" in layer:
        product = product + x @ layer["lora"]["lora_a"] @ layer["lora"]["lora_b"]
    return product + bias


def gru(weights, x, state, factor):
    r, z, n = np.split(factor * affine(weights["dense_i"], x), 3)
    hr, hz, hn = np.split(factor * affine(weights["dense_h"], state[0]), 3)
    z = logistic(z + hz)
    new = (1 - z) * np.tanh(n + logistic(r + hr) * hn) + z * state[0]
    return [new]


def lstm(weights, x, state, factor):
    i, f, g, o = (
        factor * (affine(weights[f"i{gate}"], x) + affine(weights[f"h{gate.strip('_')}"], state[1]))
        for gate in ("i", "f_", "g", "o")
    )
    memory = logistic(f) * state[0] + logistic(i) * np.tanh(g)
    return [memory, logistic(o) * np.tanh(memory)]


def min_gru(weights, x, state, factor):
    z, candidate = np.split(factor * affine(weights["dense_i"], x), 2)
    candidate = np.where(candidate >= 0, candidate + 0.5, logistic(candidate))
    return [(1 - logistic(z)) * state[0] + logistic(z) * candidate]


STEP = {"GRUCell": gru, "LSTMCell": lstm, "MinGRU": min_gru}


def oracle(name, layers, sequences, weights, x, first):
    """The loss, and outputs and last state with NaN where there is nothing to say."""
    parts = 2 if name == "LSTMCell" else 1
    options = sequences.options()
    x = np.moveaxis(x, 0, -2) if sequences.time_major else x
    resets = options.get("resets", np.zeros((*sequences.batch, STEPS), bool))
    resets = np.moveaxis(resets, 0, -1) if sequences.time_major and sequences.resets else resets
    lengths = np.broadcast_to(options.get("seq_lengths", STEPS), sequences.batch)
    outputs = np.full((*sequences.batch, STEPS, HIDDEN), np.nan)
    last = np.zeros((parts, *sequences.batch, HIDDEN))
    for index in np.ndindex(sequences.batch):
        zero = np.zeros((parts, HIDDEN))
        state = first[(slice(parts), *index)] if sequences.given else zero
        steps = list(range(lengths[index]))
        for t in steps[::-1] if sequences.reverse else steps:
            boundary = t + 1 if sequences.reverse else t
            if boundary < lengths[index] and resets[(*index, boundary)]:
                state = zero
            state = STEP[name](weights, x[(*index, t)], state, 2 if layers == "a subclass" else 1)
            outputs[(*index, t)] = state[-1]
        last[(slice(None), *index)] = state
    return np.nansum(np.sin(3 * outputs)) + np.sum(np.cos(last)), outputs, last


def program(name, layers, sequences, dtype, param_dtype):
    """The loss of weights, inputs and first state, with outputs and last state."""
    options = sequences.options()
    rnn = snn.RNN(build(name, layers, dtype, param_dtype), keep_order=True)
    graph, weights, rest = nnx.split(rnn, nnx.Param, ...)

    def loss(weights, x, first):
        carry = first_state(name, first) if sequences.given else None
        rnn = nnx.merge(graph, weights, rest, copy=True)
        last, outputs = rnn(x, initial_carry=carry, **options)
        outputs = jnp.moveaxis(outputs, 0, -2) if sequences.time_major else outputs
        if sequences.lengths:
            inside = jnp.arange(STEPS) < options["seq_lengths"][..., None]
            outputs = jnp.where(inside[..., None], outputs, jnp.nan)
        terms = jnp.where(jnp.isnan(outputs), 0, jnp.sin(3 * jnp.nan_to_num(outputs)))
        total = jnp.sum(terms) + sum(jnp.sum(jnp.cos(part)) for part in jax.tree.leaves(last))
        return total, (outputs, jnp.stack(jax.tree.leaves(last)))

    return loss, weights


def float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(tree))


CASES = [
    (name, layers, sequences, dtype)
    for sequences, layers, dtype in [
        ("one batch axis", "every bias", np.float32),
        ("none", "no bias", np.float32),
        ("lengths", "LoRA of one", np.float32),
        ("resets", "a subclass", np.float32),
        ("all", "plain", np.float32),
        ("all", "plain", np.float64),
        ("all, given", "LoRA", np.float64),
    ]
    for name in CELLS
]


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


@pytest.mark.parametrize("name", CELLS)
def test_called_layers_give_what_the_recurrence_gives(name):
    sequences = SEQUENCES["all"]
    point = data(sequences, np.float32)
    plain, weights = program(name, "plain", sequences, None, jnp.float32)
    called, _ = program(name, "called", sequences, None, jnp.float32)
    both = jax.jit(lambda *p: [jax.value_and_grad(f, has_aux=True)(*p) for f in (plain, called)])
    found, expected = both(weights, *point)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layers", ["plain", "LoRA of one"])
@pytest.mark.parametrize("name", CELLS)
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


@pytest.mark.parametrize("layers", ["plain", "LoRA of one"])
@pytest.mark.parametrize("name", CELLS)
def test_recurrences_are_closed_over_by_every_transformation(name, layers):
    rnn = snn.RNN(build(name, layers))
    x = jnp.sin(jnp.arange(2 * STEPS * IN, dtype=jnp.float32)).reshape(2, STEPS, IN)

    def one(row):
        return rnn(row[None])[0]

    def total(x):
        return jnp.sum(jnp.sin(rnn(x)))

    @jax.jit
    def everywhere(x):
        values = {
            "jit": rnn(x),
            "vmap": jax.vmap(one)(x),
            "map": lax.map(one, x),
            "scan": lax.scan(lambda carry, row: (carry, one(row)), 0, x)[1],
            "stabilize": sigjax.stabilize(lambda x: rnn(x))(x),
        }
        slopes = {
            "forward": jax.jvp(total, (x,), (x,))[1],
            "reverse": jnp.sum(jax.grad(total)(x) * x),
            "remat": jnp.sum(jax.grad(jax.checkpoint(total))(x) * x),
        }
        return values, slopes

    expected = rnn(x)
    values, slopes = everywhere(x)
    for transformation, found in values.items():
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=transformation)
    for mode, found in slopes.items():
        np.testing.assert_allclose(found, slopes["reverse"], rtol=1e-5, err_msg=mode)


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

    with jax.disable_jit(not compiled):
        last, outputs, gates = run(rnn, return_gates=True, reverse=True)
        gradient = nnx.grad(lambda rnn: sum(map(jnp.sum, jax.tree.leaves(run(rnn)))))(rnn)
    chex.assert_trees_all_equal(last, first)
    chex.assert_shape([outputs, *gates], (2, 0, HIDDEN))
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("layers", ["plain", "LoRA"])
@pytest.mark.parametrize("name", CELLS)
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


@pytest.mark.parametrize("layers", ["plain", "LoRA of one"])
@pytest.mark.parametrize("name", CELLS)
def test_gates_of_padded_reset_and_reversed_sequences(name, layers):
    """The gates of a step are those that made its state."""
    sequences = SEQUENCES["all"]
    cell = build(name, layers)
    x, _ = data(sequences, np.float32)
    options = {**sequences.options(), "keep_order": True, "return_gates": True}
    _, outputs, gates = snn.RNN(cell)(x, **options)
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


@pytest.mark.parametrize("name", CELLS)
def test_the_layers_of_lora_learn_and_are_found(name):
    rnn = snn.RNN(build(name, "LoRA"))
    found = [node for _, node in nnx.iter_graph(rnn) if isinstance(node, nnx.LoRAParam)]
    assert len(found) == 2 * len(SLOTS[name])

    def loss(rnn):
        return jnp.sum(rnn(jnp.ones((2, STEPS, IN))) ** 2)

    gradient = nnx.grad(loss, argnums=nnx.DiffState(0, nnx.LoRAParam))(rnn)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == len(found)
    assert all(jnp.any(leaf != 0) for leaf in leaves)


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_first_states_are_drawn_as_flax_draws_them(name):
    init = nnx.initializers.normal(1.0)
    pair = (getattr(snn, name), snn.RNN), (getattr(nnx, name), nnx.RNN)
    x = jnp.ones((2, STEPS, IN))

    def drawn(cell_type, runner, **options):
        cell = cell_type(IN, HIDDEN, rngs=nnx.Rngs(0, carry=1), **options)
        parameters = nnx.state(cell, nnx.Param)
        given = cell.initialize_carry((2, IN), nnx.Rngs(2), init)
        named = cell.initialize_carry((2, IN), nnx.Rngs(carry=2).carry, init)
        own = cell.initialize_carry((2, IN), None, init) if "keep_rngs" in options else None
        if "carry_init" in options:
            own = [runner(cell)(x, rngs=rngs) for rngs in (nnx.Rngs(3), nnx.Rngs(3).carry, None)]
        return nnx.to_pure_dict(parameters), given, named, own

    for options, words in (
        ({}, None),
        ({"keep_rngs": True}, "keep_rngs argument is deprecated"),
        ({"carry_init": init}, "carry_init is provided in __init__"),
    ):
        found = []
        for cell_type, runner in pair:
            if words is None:
                found.append(drawn(cell_type, runner))
            else:
                with pytest.warns(UserWarning, match=words):
                    found.append(drawn(cell_type, runner, **options))
        chex.assert_trees_all_close(*found, rtol=1e-5, atol=1e-6)


def test_a_reset_restores_the_cells_own_first_state():
    init = nnx.initializers.constant(0.7)
    with pytest.warns(UserWarning, match="carry_init"):
        cell = snn.GRUCell(IN, HIDDEN, carry_init=init, rngs=nnx.Rngs(0))
    x = jnp.sin(jnp.arange(STEPS * IN, dtype=jnp.float32)).reshape(1, STEPS, IN)
    resets = jnp.zeros((1, STEPS), bool).at[0, 3].set(True)
    outputs = snn.RNN(cell)(x, initial_carry=jnp.zeros((1, HIDDEN)), resets=resets)
    alone = snn.RNN(cell)(x[:, 3:], initial_carry=jnp.full((1, HIDDEN), 0.7))
    np.testing.assert_allclose(outputs[:, 3:], alone, rtol=1e-6)


class Counting(nnx.GRUCell):
    """Flax's, with dropout and a count of its steps."""

    def __init__(self, *sizes, rngs):
        super().__init__(*sizes, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.steps = nnx.Variable(jnp.zeros((), int))

    def __call__(self, carry, inputs):
        self.steps[...] += 1
        return super().__call__(self.dropout(carry), inputs)


@pytest.mark.parametrize("broadcast", [None, "dropout"])
def test_a_cells_own_state_is_flaxs(broadcast):
    def run(runner):
        cell = Counting(IN, HIDDEN, rngs=nnx.Rngs(0, dropout=1))
        rnn = runner(cell, broadcast_rngs=broadcast)
        outputs = [rnn(jnp.ones((2, STEPS, IN))) for _ in range(2)]
        return outputs, cell.steps[...], cell.dropout.rngs.count[...]

    chex.assert_trees_all_close(run(snn.RNN), run(nnx.RNN), rtol=1e-6)


def test_kernels_of_each_step():
    axes = nnx.StateAxes({nnx.Param: 0, ...: nnx.Carry})
    cells = nnx.vmap(lambda rngs: snn.GRUCell(IN, HIDDEN, rngs=rngs))(nnx.Rngs(0).split(STEPS))
    x = jnp.ones((2, STEPS, IN))
    found, expected = (runner(cells, state_axes=axes)(x) for runner in (snn.RNN, nnx.RNN))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"return_carry": True, "merge_fn": jnp.add}, {"time_major": True}], ids=str
)
def test_bidirectional_is_flaxs(options):
    found, expected = (
        lib.Bidirectional(
            *(lib.RNN(lib.GRUCell(IN, HIDDEN, rngs=nnx.Rngs(seed))) for seed in range(2)), **options
        )
        for lib in (snn, nnx)
    )
    x = jnp.sin(jnp.arange(3 * STEPS * IN, dtype=jnp.float32)).reshape(3, STEPS, IN)
    x = jnp.moveaxis(x, 1, 0) if "time_major" in options else x
    for lengths in (None, jnp.array([6, 2, 1])):
        chex.assert_trees_all_close(
            found(x, seq_lengths=lengths), expected(x, seq_lengths=lengths), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", CELLS)
def test_nothing_passes_a_reset_in_either_direction(name):
    rnn = snn.Bidirectional(*(snn.RNN(build(name, "plain")) for _ in range(2)), return_carry=True)
    x = jnp.sin(jnp.arange(2 * STEPS * IN, dtype=jnp.float32)).reshape(2, STEPS, IN)
    resets = jnp.zeros((2, STEPS), bool).at[:, 2].set(True)
    carries, outputs, gates = rnn(x, resets=resets, return_gates=True)
    ((_, left), (_, right)) = alone = rnn(x[:, :2]), rnn(x[:, 2:])
    np.testing.assert_allclose(outputs, jnp.concatenate([left, right], 1), rtol=1e-5, atol=1e-6)
    ends = alone[1][0][0], alone[0][0][1]  # forward it ends on the right, backward on the left
    chex.assert_trees_all_close(carries, ends, rtol=1e-5, atol=1e-6)
    chex.assert_shape(jax.tree.leaves(gates), (2, STEPS, HIDDEN))


@pytest.mark.parametrize("name", CELLS)
def test_arguments_are_refused_by_name(name):
    rnn = snn.RNN(build(name, "plain"))
    x = jnp.ones((2, STEPS, IN))
    with pytest.raises(ValueError, match=r"'seq_lengths' must have shape \(2,\).*\(3,\)"):
        rnn(x, seq_lengths=jnp.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"'resets' must have shape \(2, 6\).*\(6, 2\)"):
        rnn(x, resets=jnp.zeros((STEPS, 2), bool))
