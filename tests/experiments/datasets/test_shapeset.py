"""Drawn shapes."""

import jax
import numpy as np

from experiments.datasets import shapeset


def test_shapes_are_of_nine_classes_and_hide_little():
    batch = shapeset.shapes(jax.random.key(0), 900)
    counts = np.bincount(batch.labels, minlength=9)
    assert len(counts) == 9
    np.testing.assert_allclose(counts, 100, atol=45)
    np.testing.assert_allclose(np.std(batch.inputs), 1, atol=0.1)
    # a single shape has two grey levels, a pair three: its first shape is not hidden
    levels = [len(np.unique(image)) for image in np.asarray(batch.inputs)]
    pairs = np.asarray(batch.labels) >= 3
    assert np.max(np.array(levels)[~pairs]) == 2
    assert np.mean(np.array(levels)[pairs] == 3) > 0.97
