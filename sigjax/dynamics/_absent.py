"""What stands for a point that does not exist."""

import jax
import jax.numpy as jnp
from jax import Array


def nan_unless(exists: Array, values: Array) -> Array:
    """NaN where nothing exists, an answer and not an error: `jax_debug_nans` lets it pass.

    Args:
      exists: `[...]`, the leading axes of the values.
      values: `[..., d]`, or `[...]`.
    """
    exists = exists.reshape(exists.shape + (1,) * (values.ndim - exists.ndim))
    with jax.debug_nans(False):
        return jnp.where(exists, values, jnp.nan)
