"""Platt's sigmoid against isotonic regression, by the number of examples that they are given."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from sklearn.isotonic import IsotonicRegression

from experiments.harness import over_devices
from sigjax.calibration import fit_platt

from ._distortions import DISTORTIONS

# Niculescu-Mizil & Caruana's: 32 to 8192.
SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def compare(key: Array, *, repeats: int) -> xr.Dataset:
    """Mean squared distance of either calibration from the true probability.

    Args:
      key: of scores and labels.
      repeats: sets of examples drawn of each size.
    """
    tests = jnp.linspace(-3.0, 3.0, 601)
    density = np.exp(-(np.linspace(-3.0, 3.0, 601) ** 2) / 2)
    density /= density.sum()

    def draw(distortion: str, key: Array, size: Array) -> tuple[Array, Array, Array]:
        for_scores, for_labels = jax.random.split(key)
        scores = jax.random.normal(for_scores, SIZES[-1:])
        labels = jax.random.bernoulli(for_labels, DISTORTIONS[distortion](scores))
        # The first `size` of them count: one compiled function serves all sizes.
        weights = (jnp.arange(SIZES[-1]) < size).astype(scores.dtype)
        return scores, labels, fit_platt(scores, labels, weights=weights)(tests)

    draws = {distortion: functools.partial(draw, distortion) for distortion in DISTORTIONS}
    found = []
    for distortion, size in itertools.product(DISTORTIONS, SIZES):
        truth = np.asarray(DISTORTIONS[distortion](tests), np.float64)
        keys = jax.random.split(jax.random.fold_in(key, size), repeats)
        drawn = over_devices(draws[distortion], keys, jnp.int32(size), in_axes=(0, None))
        scores, labels, platt = (np.asarray(each, np.float64) for each in drawn)
        isotonic = [
            IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(s, y).predict(tests)
            for s, y in zip(scores[:, :size], labels[:, :size], strict=True)
        ]
        for values in (platt, np.array(isotonic, np.float64)):
            found.append(np.sum(density * (values - truth) ** 2, axis=1))
    shape = (len(DISTORTIONS), len(SIZES), 2, repeats)
    return xr.Dataset(
        {"distance": (("distortion", "size", "calibrator", "repeat"), np.reshape(found, shape))},
        coords={
            "distortion": list(DISTORTIONS),
            "size": list(SIZES),
            "calibrator": ["Platt", "isotonic"],
        },
    )
