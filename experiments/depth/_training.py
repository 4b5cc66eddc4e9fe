"""Trains deep networks on digits: one compiled program for every depth, scale and rate."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.nn.initializers import Initializer

from experiments.datasets.images import CLASSES, DIGITS, PIXELS, TESTED_DIGITS, split_digits

from ._choice import choice
from ._deep import Parameters, forward
from ._network import cross_entropy

TRAINED = DIGITS - TESTED_DIGITS
_MOMENTUM = 0.9


class Network(NamedTuple):
    """What tells one network from another: numbers, so that one program trains them all.

    Attributes:
      depth: hidden layers.
      activation, kernel: which of those that the trainer was given.
      weight_std: sigma_w; weights have variance sigma_w^2 over the fan-in.
      bias_std: sigma_b.
      rate: the learning rate.
    """

    depth: Array
    activation: Array
    kernel: Array
    weight_std: Array
    bias_std: Array
    rate: Array


def networks(
    depth: int,
    weight_stds: Sequence[float],
    bias_std: float,
    rates: Sequence[float],
    *,
    activation: int = 0,
    kernel: int = 0,
) -> Network:
    """Networks of one depth and kind, arrays `[count]`."""
    count = len(weight_stds)
    return Network(
        depth=jnp.full(count, depth, jnp.int32),
        activation=jnp.full(count, activation, jnp.int32),
        kernel=jnp.full(count, kernel, jnp.int32),
        weight_std=jnp.array(weight_stds, jnp.float32),
        bias_std=jnp.full(count, bias_std, jnp.float32),
        rate=jnp.array(rates, jnp.float32),
    )


def trainer(
    key: Array,
    *,
    activations: Sequence[Callable[[Array], Array]],
    kernels: Sequence[Initializer],
    width: int,
    deepest: int,
    steps: int,
    batch: int,
) -> Callable[[Network], tuple[Array, Array]]:
    """A function that draws a network and trains it by gradient descent with momentum 0.9.

    Every network sees the same digits in the same order and starts from the same random numbers.

    Args:
      key: for the data, the weights and the order of the batches.
      activations: among which a network chooses.
      kernels: initialisers of unit gain, such as `GAUSSIAN` or `orthogonal`.
      width: of the hidden layers.
      deepest: the most hidden layers that a network may have.
      steps: of training.
      batch: digits in a step, drawn with replacement.

    Returns:
      From a network to its loss in each step `[steps]` and its accuracy on 397 other digits.
    """
    for_data, for_weights, for_order = jax.random.split(key, 3)
    train, test = split_digits(for_data)
    of_layer = [lambda key, draw=draw: draw(key, (width, width), jnp.float32) for draw in kernels]

    def start(network: Network) -> Parameters:
        for_ends, for_hidden, for_bias = jax.random.split(for_weights, 3)
        ends = jax.random.normal(for_ends, (PIXELS + CLASSES, width))
        biases = network.bias_std * jax.random.normal(for_bias, (deepest, width))

        def hidden(key: Array) -> Array:
            return network.weight_std * lax.switch(network.kernel, of_layer, key)

        return Parameters(
            first=network.weight_std / PIXELS**0.5 * ends[:PIXELS],
            first_bias=biases[0],
            hidden=lax.map(hidden, jax.random.split(for_hidden, deepest - 1)),
            hidden_bias=biases[1:],
            readout=ends[PIXELS:].T / width**0.5,
            readout_bias=jnp.zeros(CLASSES),
        )

    def run(network: Network) -> tuple[Array, Array]:
        optimizer = optax.sgd(network.rate, momentum=_MOMENTUM)

        def logits(parameters: Parameters, x: Array) -> Array:
            activation = choice(tuple(activations), network.activation)
            return forward(parameters, x, activation, network.depth)[0]

        def step(state: tuple, chosen: Array) -> tuple[tuple, Array]:
            parameters, momentum = state

            def loss(parameters: Parameters) -> Array:
                return cross_entropy(logits(parameters, train.inputs[chosen]), train.labels[chosen])

            value, gradient = jax.value_and_grad(loss)(parameters)
            updates, momentum = optimizer.update(gradient, momentum)
            return (optax.apply_updates(parameters, updates), momentum), value

        parameters = start(network)
        order = jax.random.randint(for_order, (steps, batch), 0, TRAINED)
        state = parameters, optimizer.init(parameters)
        (parameters, _), losses = lax.scan(step, state, order)
        right = jnp.argmax(logits(parameters, test.inputs), -1) == test.labels
        return losses, jnp.mean(right.astype(jnp.float32))

    return run
