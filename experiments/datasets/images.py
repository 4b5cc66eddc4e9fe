"""Inputs for the networks: handwritten digits, and noise of the same shape."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.datasets import fetch_openml, load_digits

from experiments.harness.usage import UsageError

PIXELS = 64
CLASSES = 10
DIGITS = 1797  # all of scikit-learn's
TESTED_DIGITS = 397  # those that nothing is trained on


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


def split_digits(key: Array) -> tuple[Batch, Batch]:
    """All digits in an order drawn with `key`: 1,400 to learn from, and 397 others."""
    inputs, labels = digits(key, DIGITS)
    trained = DIGITS - TESTED_DIGITS
    return Batch(inputs[:trained], labels[:trained]), Batch(inputs[trained:], labels[trained:])


def gaussian(key: Array, size: int) -> Batch:
    """Independent N(0, 1) inputs with labels that mean nothing."""
    inputs, labels = jax.random.split(key)
    return Batch(
        jax.random.normal(inputs, (size, PIXELS), jnp.float32),
        jax.random.randint(labels, (size,), 0, CLASSES, jnp.int32),
    )


DATA = {"digits": digits, "gaussian": gaussian}


def binary_images(name: str, key: Array) -> tuple[Batch, Batch]:
    """Black and white images for training and for testing, in an order drawn with `key`.

    Args:
      name: "digits" (8 x 8, 1,797, with scikit-learn) or "mnist" (28 x 28, 70,000, fetched from
        OpenML and kept by scikit-learn).

    Raises:
      UsageError: if MNIST cannot be fetched.
    """
    if name == "digits":
        images, labels = load_digits(return_X_y=True)
        tested = TESTED_DIGITS
    else:
        try:
            images, labels = fetch_openml("mnist_784", return_X_y=True, as_frame=False)
        except OSError as error:
            raise UsageError(
                f"MNIST cannot be fetched from OpenML ({error}); offline use --data digits"
            ) from error
        tested = 10_000
    bright = jnp.asarray(images > images.max() / 2, jnp.float32)
    order = jax.random.permutation(key, len(labels))
    inputs, targets = bright[order], jnp.asarray(labels.astype(np.int32))[order]
    return Batch(inputs[:-tested], targets[:-tested]), Batch(inputs[-tested:], targets[-tested:])
