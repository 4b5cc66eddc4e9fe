"""Tasks that need a memory of their first steps."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from sigjax.losses import sigmoid_binary_cross_entropy

TOKENS = 8
SIGNALS = 2  # the tokens that may come first; the others are noise
# Hochreiter & Schmidhuber 1997, section 5.4: a sequence is right if the error is below it.
RIGHT_WITHIN = 0.04


class Task(NamedTuple):
    """A task on sequences.

    Attributes:
      features: of an input.
      draw: from a key, a batch size and a length to inputs `[batch, length, features]` and
        targets `[batch]`.
      loss: from outputs and targets, both `[batch]`, to losses.
      right: from outputs and targets to booleans.
      chance: share of right answers without memory.
    """

    features: int
    draw: Callable[[Array, int, int], tuple[Array, Array]]
    loss: Callable[[Array, Array], Array]
    right: Callable[[Array, Array], Array]
    chance: float


def _draw_delayed_signal(key: Array, batch: int, length: int) -> tuple[Array, Array]:
    """One of two signals, then noise: which signal was it?"""
    which, noise = jax.random.split(key)
    signal = jax.random.randint(which, (batch, 1), 0, SIGNALS)
    rest = jax.random.randint(noise, (batch, length - 1), SIGNALS, TOKENS)
    tokens = jnp.concatenate([signal, rest], axis=1)
    return jax.nn.one_hot(tokens, TOKENS), signal[:, 0].astype(jnp.float32)


def _draw_adding(key: Array, batch: int, length: int) -> tuple[Array, Array]:
    """Numbers U[0, 1], one marked in either half: what is the sum of the two?

    Targets are shifted by 1, the mean of a sum; without memory the squared error is 1/6.
    """
    numbers, first, second = jax.random.split(key, 3)
    value = jax.random.uniform(numbers, (batch, length))
    half = length // 2
    marked = [
        jax.nn.one_hot(jax.random.randint(k, (batch,), low, high), length)
        for k, low, high in ((first, 0, half), (second, half, length))
    ]
    marker = marked[0] + marked[1]
    return jnp.stack([value, marker], axis=-1), jnp.sum(value * marker, axis=1) - 1


DELAYED_SIGNAL = Task(
    features=TOKENS,
    draw=_draw_delayed_signal,
    loss=sigmoid_binary_cross_entropy,
    right=lambda outputs, targets: (outputs > 0) == (targets > 0.5),
    chance=0.5,
)

ADDING = Task(
    features=2,
    draw=_draw_adding,
    loss=optax.losses.squared_error,
    right=lambda outputs, targets: jnp.abs(outputs - targets) < RIGHT_WITHIN,
    # The sum of two uniform numbers has density 1 at its mean, the best constant guess.
    chance=2 * RIGHT_WITHIN - RIGHT_WITHIN**2,
)
