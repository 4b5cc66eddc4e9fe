"""Inputs for the networks: handwritten digits, and noise of the same shape."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.datasets import load_digits

PIXELS = 64
CLASSES = 10


class Batch(NamedTuple):
    """Inputs `[batch, 64]` float32 and class labels `[batch]` int32."""

    inputs: Array
    labels: Array


def digits(key: Array, size: int) -> Batch:
    """`size` of scikit-learn's 1,797 digits, drawn without replacement, mean 0, variance 1.

    One scale serves all pixels: some are always blank.
    """
    images, labels = load_digits(return_X_y=True)
    pixels = (images - images.mean()) / images.std()
    chosen = np.asarray(jax.random.permutation(key, len(labels)))[:size]
    return Batch(jnp.asarray(pixels[chosen], jnp.float32), jnp.asarray(labels[chosen], jnp.int32))


def gaussian(key: Array, size: int) -> Batch:
    """Independent N(0, 1) inputs with labels that mean nothing."""
    inputs, labels = jax.random.split(key)
    return Batch(
        jax.random.normal(inputs, (size, PIXELS), jnp.float32),
        jax.random.randint(labels, (size,), 0, CLASSES, jnp.int32),
    )


DATA = {"digits": digits, "gaussian": gaussian}
