"""The peers can be asked for what the experiments ask them for."""

import jax
import numpy as np
import pytest

from experiments.oracle import subjects
from experiments.oracle.truth import TRUTHS


@pytest.mark.parametrize("name", sorted(subjects.TORCH_PEERS))
def test_torch_gives_every_derivative_that_it_is_asked_for(name):
    pytest.importorskip("torch")
    x = np.array([0.25, 0.625], np.float64)
    highest = subjects.highest_order("torch", name)
    for order in range(highest + 1):
        found = subjects.evaluate("torch", name, order, x)
        with jax.enable_x64(True):
            truth = TRUTHS[name][order](x)
        np.testing.assert_allclose(found, truth, rtol=1e-12, atol=1e-15)
    if highest < 2:
        with pytest.raises(RuntimeError, match="not implemented"):
            subjects.evaluate("torch", name, highest + 1, x)
