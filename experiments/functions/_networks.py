"""Networks with one hidden layer of sigmoids, trained to approximate a target."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

import sigjax


class Network(nnx.Module):
    """One hidden layer of sigmoids, of points in a ball of some radius."""

    def __init__(self, radius: Array | float, units: int, rngs: nnx.Rngs):
        # Slopes that give each unit a turn of its own inside the ball, and knots all over it.
        slopes, knots = nnx.initializers.normal(4 / radius), nnx.initializers.normal(4.0)
        self.hidden = nnx.Linear(2, units, kernel_init=slopes, bias_init=knots, rngs=rngs)
        self.output = nnx.Linear(units, 1, rngs=rngs)

    def __call__(self, inputs: Array) -> Array:
        return self.output(sigjax.sigmoid(self.hidden(inputs)))[..., 0]


class Trained(NamedTuple):
    """A trained network, judged by points that it was not trained on.

    Attributes:
      squared_error: mean over those points.
      largest_error: over those points.
      weights: of a `Network`.
    """

    squared_error: Array
    largest_error: Array
    weights: nnx.State


@functools.cache
def trainer(units: int, steps: int, learning_rate: float) -> Callable[..., Trained]:
    """Adam on a network's squared error, with a rate that falls to 0 along a cosine.

    Returns:
      The same function for every target, so that all share a program: given a key, the target's
      radius, points `[points, 2]` with their values to train on, and others to be judged by, it
      gives the trained network.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    def train(
        key: Array, radius: Array, inputs: Array, values: Array, tests: Array, held_out: Array
    ) -> Trained:
        graph, weights = nnx.split(Network(radius, units, nnx.Rngs(key)))

        def errors(weights: nnx.State, inputs: Array, values: Array) -> Array:
            return nnx.merge(graph, weights)(inputs) - values

        def loss(weights: nnx.State) -> Array:
            return jnp.mean(jnp.square(errors(weights, inputs, values)))

        def step(state, _: None):
            weights, moments = state
            slope = jax.grad(loss)(weights)
            updates, moments = optimizer.update(slope, moments, weights)
            return (optax.apply_updates(weights, updates), moments), None

        state = (weights, optimizer.init(weights))
        (weights, _), _ = jax.lax.scan(step, state, None, length=steps)
        left = errors(weights, tests, held_out)
        return Trained(jnp.mean(jnp.square(left)), jnp.max(jnp.abs(left)), weights)

    return train
