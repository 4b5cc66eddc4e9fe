"""Batches, losses and one layer that the architectures share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

WIDTH = 32
KEY = jax.random.key(7)
TOKENS = jax.random.randint(KEY, (8, 16), 0, 50)
IMAGES = jax.random.normal(jax.random.fold_in(KEY, 1), (8, 16, 16, 3))
LABELS = jnp.arange(8) % 4
VECTORS = jax.random.normal(jax.random.fold_in(KEY, 2), (64, WIDTH))
TARGETS = (VECTORS[:, 0] > 0).astype(jnp.int32)


def cross_entropy(logits: Array, labels: Array) -> Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def classify(model: Any, x: Array, labels: Array) -> Array:
    return cross_entropy(model(x), labels)


def next_token(model: Any, tokens: Array) -> Array:
    return cross_entropy(model(tokens)[:, :-1], tokens[:, 1:])


class Feed(nnx.Module):
    def __init__(
        self, width: int, rngs: nnx.Rngs, activation: Callable[[Array], Array] = nnx.gelu
    ) -> None:
        self.up = nnx.Linear(width, 4 * width, rngs=rngs)
        self.down = nnx.Linear(4 * width, width, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        return self.down(self.activation(self.up(x)))
