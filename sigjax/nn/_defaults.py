"""Flax's initialisers, named once: a default argument should not call a function."""

from typing import Any

import jax.nn.initializers as _initializers
import jax.numpy as jnp
from flax.nnx.nn import recurrent as _recurrent

LECUN_NORMAL = _initializers.lecun_normal()
ZEROS = _initializers.zeros
# The standard deviation of new layers in Lin et al. 2017, section 4.1.
SMALL_NORMAL = _initializers.normal(0.01)

_orthogonal = _initializers.orthogonal()


def _orthogonal_of_any_dtype(key, shape, dtype=None, out_sharding=None):
    # jax decomposes no 16-bit matrix
    if jnp.zeros((), dtype).dtype.itemsize >= 4:
        return _orthogonal(key, shape, dtype, out_sharding)
    return _orthogonal(key, shape, jnp.float32, out_sharding).astype(dtype)


ORTHOGONAL: Any = _orthogonal_of_any_dtype
BLOCKWISE_ORTHOGONAL: Any = _recurrent.modified_orthogonal  # of one gate at a time
