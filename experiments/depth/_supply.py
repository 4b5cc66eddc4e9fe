"""Weights and data that many networks share, drawn once."""

import functools

import jax
import numpy as np
from jax import Array

from experiments.datasets.images import CLASSES, DATA, PIXELS, Batch

from ._bounds import spectral_norm_from_below
from ._initializers import WeightInitializer
from ._network import Weights, draw_weights


class Supply:
    """What is random in a run: every network has the same data, and the same draw of weights.

    Args:
      key: of the run.
      deepest: layers of the deepest network; shallower ones of the depth sweep are its first
        layers.
    """

    def __init__(self, key: Array, deepest: int):
        data_key, weight_key = jax.random.split(key)
        self.deepest = deepest
        self.batch = functools.cache(functools.partial(_batch, data_key))
        # The weights of one setting may take a gigabyte: those asked for last are kept.
        self.weights = functools.lru_cache(maxsize=1)(functools.partial(_weights, weight_key))


def _batch(key: Array, data: str, size: int) -> Batch:
    return DATA[data](key, size)


def _weights(
    key: Array, initializer: WeightInitializer, *, seeds: int, depth: int, width: int
) -> tuple[Weights, np.ndarray]:
    """Weights with `SEED_AXES`, and the hidden ones' spectral norms, `[seeds, depth - 1]`."""
    weights = draw_weights(
        key,
        initializer.kernel,
        initializer.gain,
        seeds=seeds,
        depth=depth,
        width=width,
        inputs=PIXELS,
        classes=CLASSES,
    )
    norms = spectral_norm_from_below(weights.hidden)
    return weights, np.asarray(norms, np.float64).T
