"""Small RG-LRUs, what they are run on, and their program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import sigjax.nn as snn
from sigjax.nn._rg_lru._sequence import CHUNK

FEATURES, HEADS, BATCH = 4, 2, 3
LONG = 2 * CHUNK + 7  # two chunks and a rest


@functools.cache
def drawn(dtype, param_dtype, features, heads):
    """In one program, rather than one for each step of each initializer."""

    @nnx.jit
    def make():
        bias_init = nnx.initializers.normal(0.5)
        options = {"dtype": dtype, "param_dtype": param_dtype, "bias_init": bias_init}
        return snn.RGLRU(features, num_heads=heads, rngs=nnx.Rngs(0), **options)

    return nnx.split(make())


def unit(dtype=None, param_dtype=jnp.float32, features=FEATURES, heads=HEADS):
    """With biases that are not 0."""
    return nnx.merge(*drawn(dtype, param_dtype, features, heads), copy=True)


class Doubled(nnx.Module):
    """Calls a gate and doubles what it returns."""

    def __init__(self, gate):
        self.gate = gate

    def __call__(self, inputs):
        return 2 * self.gate(inputs)


def float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def weights_of(cell):
    return float64(nnx.to_pure_dict(nnx.state(cell, nnx.Param)))


def data(steps=LONG, batch=BATCH, features=FEATURES):
    rng = np.random.default_rng(0)
    x, cotangent = rng.normal(size=(2, steps, batch, features))
    starts = rng.random((steps, batch)) < 0.03
    return x, rng.normal(size=(batch, features)), cotangent, starts


def program(cell, **options):
    """Outputs and last state of weights, inputs `[time, batch, features]` and first state."""
    rnn = snn.RNN(cell, time_major=True, return_carry=True)
    graph, weights, rest = nnx.split(rnn, nnx.Param, ...)

    def run(weights, x, first):
        last, outputs = nnx.merge(graph, weights, rest, copy=True)(
            x, initial_carry=first, **options
        )
        return outputs, last

    return run, weights
