"""A plain network whose depth is a number that may differ from call to call of one program."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Parameters(NamedTuple):
    """Weights and biases with room for `deepest` hidden layers.

    Attributes:
      first: `[inputs, width]`, and its biases `[width]`.
      hidden: `[deepest - 1, width, width]`, layers 2 and on, and their biases.
      readout: `[width, classes]`, and its biases.
    """

    first: Array
    first_bias: Array
    hidden: Array
    hidden_bias: Array
    readout: Array
    readout_bias: Array


def forward(
    parameters: Parameters, x: Array, activation: Callable[[Array], Array], depth: Array
) -> tuple[Array, Array]:
    """Logits of a network of `depth` hidden layers, and the activations of every layer.

    Layers beyond the depth are passed by at run time (`lax.cond`), so that a shallow network costs
    no more products than it has layers, and `jax.grad` gives zeros there. Under `vmap` all layers
    are computed.

    Args:
      parameters: of at least `depth` hidden layers.
      x: inputs `[batch, inputs]`.
      activation: elementwise.
      depth: an integer, may be traced.

    Returns:
      Logits `[batch, classes]` and activations `[deepest, batch, width]`; beyond the depth they are
      the last layer's.
    """

    def layer(h: Array, following: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        number, kernel, bias = following

        def through(h: Array) -> Array:
            return activation(h @ kernel + bias)

        h = lax.cond(number <= depth, through, lambda h: h, h)
        return h, h

    bottom = activation(x @ parameters.first + parameters.first_bias)
    numbers = jnp.arange(2, len(parameters.hidden) + 2)
    top, layers = lax.scan(layer, bottom, (numbers, parameters.hidden, parameters.hidden_bias))
    logits = top @ parameters.readout + parameters.readout_bias
    return logits, jnp.concatenate([bottom[None], layers])
