"""Trains Glorot & Bengio's networks, and watches their layers saturate."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

import sigjax
from experiments.datasets import images, shapeset
from experiments.datasets.images import Batch

from ._choice import choice
from ._deep import Parameters, forward
from ._network import cross_entropy
from ._signals_at_start import OBSERVED, limits

# Activation and number of hidden layers of the networks that are trained.
TRAINED = (("sigmoid", 4), ("sigmoid", 5), ("tanh", 5), ("softsign", 5))
ACTIVATIONS = {"sigmoid": sigjax.sigmoid, "tanh": jnp.tanh, "softsign": jax.nn.soft_sign}
_DEEPEST = max(depth for _, depth in TRAINED)
BLOCKS = 50  # times at which the layers are looked at


class Watched(NamedTuple):
    """What was seen before each block of steps, the layers of a shallow network first.

    Attributes:
      mean: activation, `[block, layer]`.
      percentile: 98th, of |activation|, `[block, layer]`.
      accuracy: on the 300 images that are followed, `[block]`.
    """

    mean: Array
    percentile: Array
    accuracy: Array


def trainer(
    key: Array, data: Literal["shapes", "digits"], *, width: int, steps: int, batch: int
) -> Callable[[Array, Array, Array], Watched]:
    """A program that trains a network of an activation, depth and learning rate; one serves all.

    Standard weights, biases 0, plain stochastic gradient descent. Every network starts from the
    same random numbers and sees the same images.
    """
    for_data, for_weights, for_steps = jax.random.split(key, 3)
    observed, draw, classes = _source(data, for_data, batch)
    functions = tuple(ACTIVATIONS.values())
    inputs = observed.inputs.shape[1]

    def start() -> Parameters:
        first, hidden, readout = jax.random.split(for_weights, 3)

        def uniform(key: Array, shape: tuple[int, ...]) -> Array:
            limit = limits(*shape[-2:])["standard"]
            return jax.random.uniform(key, shape, minval=-limit, maxval=limit)

        return Parameters(
            first=uniform(first, (inputs, width)),
            first_bias=jnp.zeros(width),
            hidden=uniform(hidden, (_DEEPEST - 1, width, width)),
            hidden_bias=jnp.zeros((_DEEPEST - 1, width)),
            readout=uniform(readout, (width, classes)),
            readout_bias=jnp.zeros(classes),
        )

    @jax.jit
    def run(activation: Array, depth: Array, rate: Array) -> Watched:
        optimizer = optax.sgd(rate)

        def read(parameters: Parameters, x: Array) -> tuple[Array, Array]:
            return forward(parameters, x, choice(functions, activation), depth)

        def step(parameters: Parameters, key: Array) -> tuple[Parameters, None]:
            seen = draw(key)

            def loss(parameters: Parameters) -> Array:
                return cross_entropy(read(parameters, seen.inputs)[0], seen.labels)

            gradient = jax.grad(loss)(parameters)
            updates, _ = optimizer.update(gradient, optimizer.init(parameters))
            return optax.apply_updates(parameters, updates), None

        def block(parameters: Parameters, keys: Array) -> tuple[Parameters, Watched]:
            logits, layers = read(parameters, observed.inputs)
            right = jnp.argmax(logits, -1) == observed.labels
            watched = Watched(
                mean=jnp.mean(layers, (1, 2)),
                percentile=jnp.percentile(jnp.abs(layers), 98, axis=(1, 2)),
                accuracy=jnp.mean(right.astype(jnp.float32)),
            )
            return lax.scan(step, parameters, keys)[0], watched

        keys = jax.random.split(for_steps, (BLOCKS, max(1, steps // BLOCKS)))
        return lax.scan(block, start(), keys)[1]

    return run


def _source(data: str, key: Array, batch: int) -> tuple[Batch, Callable[[Array], Batch], int]:
    """Images that are followed, how to draw those of a step, and the number of classes."""
    if data == "shapes":
        observed = shapeset.shapes(key, OBSERVED)
        return observed, lambda key: shapeset.shapes(key, batch), shapeset.CLASSES
    everything = images.digits(key, images.DIGITS)
    observed = Batch(everything.inputs[:OBSERVED], everything.labels[:OBSERVED])

    def draw(key: Array) -> Batch:
        chosen = jax.random.randint(key, (batch,), OBSERVED, images.DIGITS)
        return Batch(everything.inputs[chosen], everything.labels[chosen])

    return observed, draw, images.CLASSES
