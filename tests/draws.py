"""Random numbers for the constants of a test file: NumPy's, so that importing it compiles nothing.

Every worker imports every file, also those whose tests it never runs.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array


def normal(seed: int, shape: tuple[int, ...], std: float = 1.0) -> Array:
    """Normal float32 numbers."""
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return jnp.asarray(np.float32(std) * drawn)
