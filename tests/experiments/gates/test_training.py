"""The training loop of recurrent networks."""

import jax
import numpy as np
import pytest

import sigjax.nn as snn
from experiments.gates import _tasks as tasks
from experiments.gates._training import SequenceModel, train


@pytest.mark.usefixtures("standard_promotion")
def test_training_learns_what_needs_no_memory():
    """A delayed signal of length 1 is not delayed."""
    found = train(
        tasks.DELAYED_SIGNAL,
        lambda rngs: SequenceModel(tasks.TOKENS, 4, snn.RNN, snn.MinGRU, rngs),
        length=1,
        steps=60,
        batch=16,
        learning_rate=0.05,
        seeds=2,
        key=jax.random.key(0),
    )
    assert found.loss.shape == found.right.shape == (2, 60)
    np.testing.assert_array_equal(found.test, 1)
    assert np.all(found.loss[:, -1] < found.loss[:, 0] / 4)
