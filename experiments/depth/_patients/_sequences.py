"""Recurrent networks."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._common import WIDTH, cross_entropy


class Translator(nnx.Module):
    """A recurrent encoder and decoder with attention between them (Bahdanau et al. 2015)."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(50, WIDTH, rngs=rngs)
        self.encoder = nnx.RNN(nnx.GRUCell(WIDTH, WIDTH, rngs=rngs), rngs=rngs)
        self.decoder = nnx.RNN(nnx.GRUCell(WIDTH, WIDTH, rngs=rngs), rngs=rngs)
        self.attention = nnx.MultiHeadAttention(1, WIDTH, decode=False, rngs=rngs)
        self.head = nnx.Linear(2 * WIDTH, 50, rngs=rngs)

    def __call__(self, source: Array, target: Array) -> Array:
        memory = self.encoder(self.embed(source))
        state = self.decoder(self.embed(target))
        return self.head(jnp.concatenate([state, self.attention(state, memory)], -1))


def translate(model: Any, source: Array, target: Array) -> Array:
    return cross_entropy(model(source, target)[:, :-1], target[:, 1:])


class Sequence(nnx.Module):
    def __init__(self, cell: Any, steps: int = 12) -> None:
        rngs = nnx.Rngs(0)
        self.rnn = nnx.RNN(cell(WIDTH, WIDTH, rngs=rngs), rngs=rngs)
        self.head = nnx.Linear(WIDTH, 4, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.head(self.rnn(x)[:, -1])
