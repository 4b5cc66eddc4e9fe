"""Scores of a support vector machine, and the log-odds that Platt's sigmoid makes of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from sklearn.model_selection import cross_val_predict
from sklearn.svm import SVC

import sigjax
from experiments.datasets.tables import Split, breast_cancer, digit_pair
from sigjax.calibration import expected_calibration_error, fit_platt
from sigjax.losses import sigmoid_binary_cross_entropy

STAGES = ("before", "after")
_FOLDS = 5


def log_odds(key: Array, *, pairs: int, splits: int, kernel: str) -> xr.Dataset:
    """Log-odds of held-out examples before Platt's sigmoid (the score itself) and after it.

    Args:
      key: of the splits into halves.
      pairs: of digits, how many.
      splits: of breast cancer, how many.
      kernel: of the machine.
    """
    digits = list(itertools.combinations(range(10), 2))[:pairs]
    problems = [
        ("breast cancer", breast_cancer(jax.random.fold_in(key, split), 0.5))
        for split in range(splits)
    ]
    problems += [
        ("pairs of digits", digit_pair(*pair, jax.random.fold_in(key, 1000 + index), 0.5))
        for index, pair in enumerate(digits)
    ]
    scores = [_scores(data, kernel) for _, data in problems]
    # Problems differ in size: examples of weight 0 make one shape of all, and one call of the fits.
    size = max(len(inner) for inner, _ in scores)
    inner, labels, weights = np.zeros((3, len(problems), size), np.float32)
    for row, ((own, _), (_, data)) in enumerate(zip(scores, problems, strict=True)):
        inner[row, : len(own)], labels[row, : len(own)] = own, data.train_labels
        weights[row, : len(own)] = 1
    fitted = jax.vmap(lambda s, y, w: fit_platt(s, y, weights=w))(inner, labels, weights)
    before = [outer for _, outer in scores]
    after = [
        -(float(a) * outer + float(b))
        for outer, a, b in zip(before, fitted.a, fitted.b, strict=True)
    ]
    names = np.repeat([name for name, _ in problems], [len(outer) for outer in before])
    return xr.Dataset(
        {
            "logit": (
                ("stage", "example"),
                np.stack([np.concatenate(before), np.concatenate(after)]),
            ),
            "label": ("example", np.concatenate([data.test_labels for _, data in problems])),
        },
        coords={"stage": list(STAGES), "problem": ("example", names)},
    )


def _scores(data: Split, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the training half, each by a machine that did not see it, and of the test."""
    machine = SVC(kernel=kernel)
    inner = cross_val_predict(
        machine, data.train_inputs, data.train_labels, cv=_FOLDS, method="decision_function"
    )
    machine.fit(data.train_inputs, data.train_labels)
    return inner, machine.decision_function(data.test_inputs)


def problems_of(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """The held-out examples of each problem, by its name."""
    names = dict.fromkeys(dataset["problem"].values.tolist())
    return {name: dataset.isel(example=dataset["problem"].values == name) for name in names}


def held_out(part: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Log-loss (nat) and calibration error of a problem, by stage."""
    labels = jnp.asarray(part["label"].values, jnp.int32)
    found = {}
    for stage in STAGES:
        logits = jnp.asarray(part["logit"].sel(stage=stage).values, jnp.float32)
        loss = float(jnp.mean(sigmoid_binary_cross_entropy(logits, labels)))
        error = float(expected_calibration_error(sigjax.sigmoid(logits), labels))
        found[stage] = (loss, error)
    return found
