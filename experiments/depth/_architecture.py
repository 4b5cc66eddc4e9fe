"""The networks of the depth figure as numbers, so that one program serves them all."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from experiments.datasets.images import Batch

from ._activations import ACTIVATIONS
from ._choice import choice
from ._network import LayerGradients, PlainNetwork, Weights, layer_gradients
from ._normalization import NORMS

_ACTIVATIONS = tuple(activation.function for activation in ACTIVATIONS.values())
_NORMS = tuple(NORMS.values())


class Architecture(NamedTuple):
    """What distinguishes networks with the same weights, scalars each.

    Attributes:
      activation: int32, its place among `ACTIVATIONS`.
      norm: int32, its place among `NORMS`.
      residual: bool.
      depth: int32, layers.
    """

    activation: Array
    norm: Array
    residual: Array
    depth: Array

    @classmethod
    def of(cls, activation: str, norm: str, residual: int, depth: int) -> "Architecture":
        """The numbers of an architecture that is given by names."""
        return cls(
            jnp.int32(list(ACTIVATIONS).index(activation)),
            jnp.int32(list(NORMS).index(norm)),
            jnp.bool_(residual),
            jnp.int32(depth),
        )


def norms_of_layers(weights: Weights, batch: Batch, architecture: Architecture) -> LayerGradients:
    """`layer_gradients` of one network, at every layer for which there are weights."""
    network = PlainNetwork(
        choice(_ACTIVATIONS, architecture.activation),
        choice(_NORMS, architecture.norm),
        architecture.residual,
    )
    return layer_gradients(network, weights, batch, depth=architecture.depth)
