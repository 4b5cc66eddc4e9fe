"""Two-class problems and several labels an example, of what scikit-learn ships."""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits

from experiments.harness.usage import UsageError

# What is true of each digit, 0 to 9, as this data set draws it: an image has one to four labels.
ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "has a loop": (0, 6, 8, 9),
    "at least 5": (5, 6, 7, 8, 9),
    "prime": (2, 3, 5, 7),
    "multiple of 3": (0, 3, 6, 9),
    "straight strokes": (1, 4, 7),
}
_YEAST = 40597  # OpenML: Elisseeff & Weston 2001, 2417 genes, 103 features, 14 functions


class Split(NamedTuple):
    """Examples to train on and others to test on, features standardised by those of the former.

    Attributes:
      train_inputs: `[train, features]` float64.
      train_labels: `[train]` or `[train, labels]`, 0 and 1.
      test_inputs: `[test, features]`.
      test_labels: `[test]` or `[test, labels]`.
      names: of the features; of the two classes for a pair of digits; of several labels.
      centre: `[features]`, what was taken from each feature.
      scale: `[features]`, what it was then divided by.
    """

    train_inputs: np.ndarray
    train_labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray


def _split(
    inputs: np.ndarray, labels: np.ndarray, names: tuple[str, ...], key: Array, tested: float
) -> Split:
    # On the host: jax's shuffle is a program of its own for every number of examples.
    order = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(len(inputs))
    test, train = np.split(order, [round(tested * len(inputs))])
    centre, scale = inputs[train].mean(axis=0), inputs[train].std(axis=0)
    scale = np.where(scale > 0, scale, 1)  # some pixels are always blank
    standard = (inputs - centre) / scale
    return Split(standard[train], labels[train], standard[test], labels[test], names, centre, scale)


def breast_cancer(key: Array, tested: float) -> Split:
    """569 tumours, 30 measurements; 1 is malignant.

    Street, Wolberg & Mangasarian 1993. scikit-learn counts benign as 1.
    """
    data = load_breast_cancer()
    names = tuple(str(name) for name in data.feature_names)
    return _split(data.data, 1 - data.target, names, key, tested)


def digit_pair(one: int, other: int, key: Array, tested: float) -> Split:
    """Two digits of scikit-learn's, 64 pixels; 1 is the second."""
    images, digits = load_digits(return_X_y=True)
    kept = (digits == one) | (digits == other)
    return _split(
        images[kept], (digits[kept] == other).astype(int), (str(one), str(other)), key, tested
    )


def several_labels(name: str, key: Array, tested: float) -> Split:
    """Examples that may have several labels at once.

    Args:
      name: "digits" (labels derived from the digit, `ATTRIBUTES`) or "yeast" (14 functions of
        genes, fetched from OpenML and kept by scikit-learn).

    Raises:
      UsageError: if yeast cannot be fetched, or for another name.
    """
    if name == "digits":
        images, digits = load_digits(return_X_y=True)
        labels = np.stack([np.isin(digits, which) for which in ATTRIBUTES.values()], axis=1)
        return _split(images, labels.astype(int), tuple(ATTRIBUTES), key, tested)
    if name != "yeast":
        raise UsageError(f"data must be digits or yeast, not {name!r}")
    try:
        genes, functions = fetch_openml(data_id=_YEAST, return_X_y=True, as_frame=True)
    except OSError as error:
        raise UsageError(
            f"yeast cannot be fetched from OpenML ({error}); offline use --data digits"
        ) from error
    labels = (functions.to_numpy().astype(str) == "TRUE").astype(int)
    return _split(
        genes.to_numpy(np.float64), labels, tuple(map(str, functions.columns)), key, tested
    )
