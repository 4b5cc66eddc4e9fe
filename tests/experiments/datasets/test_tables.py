"""Two-class problems, and several labels an example."""

import jax
import numpy as np
import pytest

from experiments.datasets import tables
from experiments.harness.usage import UsageError


def test_every_digit_has_labels_of_its_own():
    rows = {tuple(d in which for which in tables.ATTRIBUTES.values()) for d in range(10)}
    counts = {sum(row) for row in rows}
    assert counts == {1, 2, 3, 4}
    assert len(rows) >= 7


def test_features_are_standardised_by_the_training_half_alone():
    split = tables.breast_cancer(jax.random.key(0), 0.3)
    np.testing.assert_allclose(split.train_inputs.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(split.train_inputs.std(axis=0), 1, atol=1e-10)
    assert np.abs(split.test_inputs.mean(axis=0)).max() > 1e-3
    assert len(split.test_labels) == round(0.3 * 569)
    assert split.test_labels.sum() + split.train_labels.sum() == 212  # malignant


def test_yeast_without_a_network_is_refused(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(tables, "fetch_openml", unreachable)
    with pytest.raises(UsageError, match="use --data digits"):
        tables.several_labels("yeast", jax.random.key(0), 0.4)
    with pytest.raises(UsageError, match="digits or yeast"):
        tables.several_labels("proteins", jax.random.key(0), 0.4)
