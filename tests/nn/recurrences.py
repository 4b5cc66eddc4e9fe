"""Recurrences with every option, and loops over single sequences in NumPy's float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

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
    """A Linear that cells do not take for a plain one, by its class, and therefore call."""


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
    for name in CELLS
    for sequences, layers, dtype in [
        ("one batch axis", "every bias", np.float32),
        ("none", "no bias", np.float32),
        ("lengths", "LoRA of one", np.float32),
        ("resets", "a subclass", np.float32),
        ("all", "plain", np.float32),
        ("all", "plain", np.float64),
        ("all, given", "LoRA", np.float64),
    ]
]
