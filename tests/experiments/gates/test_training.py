"""The training loop of recurrent networks."""

import jax
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from experiments.gates import _tasks as tasks
from experiments.gates._training import SequenceModel, train


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_training_learns_what_needs_no_memory():
    """A delayed signal of length 1 is not delayed; two models go one way, the third another."""

    def with_cell(make_cell):
        return lambda rngs: SequenceModel(tasks.TOKENS, 4, snn.RNN, make_cell, rngs)

    found = train(
        tasks.DELAYED_SIGNAL,
        [with_cell(cell) for cell in (snn.MinGRU, nnx.SimpleCell, snn.MinGRU)],
        length=1,
        steps=60,
        batch=16,
        learning_rate=0.05,
        seeds=2,
        key=jax.random.key(0),
    )
    for trained in found:
        assert trained.loss.shape == trained.right.shape == (2, 60)
        np.testing.assert_array_equal(trained.test, 1)
        assert np.all(trained.loss[:, -1] < trained.loss[:, 0] / 4)
        before, after = (jax.tree.leaves(tree)[0] for tree in (trained.start, trained.parameters))
        assert before.shape == after.shape
        assert np.all(np.any(before != after, axis=tuple(range(1, before.ndim))))
    first, other, third = found
    # Models that share a structure come back in the order they were given.
    np.testing.assert_allclose(first.loss, third.loss, rtol=1e-5)
    assert np.any(np.abs(first.loss - other.loss) > 0.01)
