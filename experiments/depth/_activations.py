"""The activation functions whose gradients are compared."""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import sigjax


class Activation(NamedTuple):
    r"""An elementwise function and the largest slope it has anywhere.

    Attributes:
      function: the activation.
      steepest: $\sup |\phi'|$, the factor that bounds a layer's gradient.
    """

    function: Callable[[Array], Array]
    steepest: float


def hard_tanh(x: Array) -> Array:
    """The identity, cut off at -1 and 1."""
    return jnp.clip(x, -1, 1)


def centred_sigmoid(x: Array) -> Array:
    r"""$4\sigma(x) - 2 = 2\tanh(x/2)$: the sigmoid with mean 0 and slope 1 at the origin."""
    return 2 * sigjax.tanh_from_sigmoid(x / 2)


# silu' = sigma + x sigma' has its maximum where x tanh(x/2) = 2.
_SILU_PEAK = 2.3993572805154677
_SILU_STEEPEST = (
    1 + math.tanh(_SILU_PEAK / 2) + _SILU_PEAK / (2 * math.cosh(_SILU_PEAK / 2) ** 2)
) / 2

ACTIVATIONS = MappingProxyType(
    {
        "sigmoid": Activation(sigjax.sigmoid, 1 / 4),
        "tanh": Activation(jnp.tanh, 1.0),
        "hard_tanh": Activation(hard_tanh, 1.0),
        "relu": Activation(jax.nn.relu, 1.0),
        "silu": Activation(sigjax.silu, _SILU_STEEPEST),
        "centred_sigmoid": Activation(centred_sigmoid, 1.0),
    }
)
