"""The weight distributions that are compared, and the gain that mean field gives each."""

import functools
import math
from typing import NamedTuple

import jax
from jax.nn.initializers import Initializer

from sigjax.theory import critical_weight_std

from ._activations import ACTIVATIONS

_UNIFORM = jax.nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
_GLOROT = jax.nn.initializers.glorot_uniform()
# Of unit gain: entries of variance 1 / fan-in. Not jax's he_normal, which is truncated.
GAUSSIAN = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
_ORTHOGONAL = jax.nn.initializers.orthogonal()


class WeightInitializer(NamedTuple):
    r"""A kernel initialiser for square matrices of unit gain, and the gain.

    Attributes:
      kernel: draws entries of variance $1/n$.
      gain: $\sigma_w$ of mean field; multiplies the kernel.
    """

    kernel: Initializer
    gain: float


INITIALIZERS = ("standard", "glorot", "he", "orthogonal", "critical")
"""The names, in the order in which they are shown."""


@functools.cache
def weight_initializer(name: str, activation: str) -> WeightInitializer:
    """The initialiser of that name; only `critical` looks at the activation."""
    match name:
        case "standard":  # U[-1/sqrt(n), 1/sqrt(n)]: Glorot & Bengio 2010, eq. 1
            return WeightInitializer(_UNIFORM, math.sqrt(1 / 3))
        case "glorot":
            return WeightInitializer(_GLOROT, 1.0)
        case "he":
            return WeightInitializer(GAUSSIAN, math.sqrt(2))
        case "orthogonal":
            return WeightInitializer(_ORTHOGONAL, 1.0)
        case "critical":
            gain = float(critical_weight_std(ACTIVATIONS[activation].function))
            return WeightInitializer(GAUSSIAN, gain)
    raise ValueError(f"unknown initialiser {name!r}; known are {', '.join(INITIALIZERS)}")
