"""Flax's default arguments, named once.

A default argument should not call a function, and a module pickles only if its functions do.
"""

from typing import Any

import jax.nn.initializers as _initializers
import jax.numpy as jnp
from flax import nnx as _nnx
from flax.nnx.nn import recurrent as _recurrent
from jax import Array

from ..initializers import rounded_once

LECUN_NORMAL = _initializers.lecun_normal()
ZEROS = _initializers.zeros
# The standard deviation of new layers in Lin et al. 2017, section 4.1.
SMALL_NORMAL = _initializers.normal(0.01)

ORTHOGONAL = rounded_once(_initializers.orthogonal())
BLOCKWISE_ORTHOGONAL: Any = _recurrent.modified_orthogonal  # of one gate at a time


# `nnx.relu` and `jnp.tanh` cannot be pickled, functions with a name of their own can.


def relu(x: Array) -> Array:
    """`flax.nnx.relu`."""
    return _nnx.relu(x)


def tanh(x: Array) -> Array:
    """`jax.numpy.tanh`."""
    return jnp.tanh(x)
