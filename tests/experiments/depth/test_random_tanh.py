"""What is read off drawn networks, of numbers that are known."""

import numpy as np
import pytest

from experiments.depth._random_tanh import Drawn, correlation_slopes


def test_layers_whose_inputs_float32_does_not_tell_apart_do_not_count():
    """1 - c falls by one factor a layer until rounding is all that is left of it."""
    factor = np.array([0.76, 0.9])
    layers = np.arange(120)[:, None]
    rounding = 1e-14 * np.random.default_rng(0).uniform(0.5, 2, (2, 120, 4))
    near = 1e-3 * factor[:, None, None] ** layers + rounding
    none = np.zeros((2, 120, 1))
    slopes = correlation_slopes(Drawn(none[..., 0], none, near, factor), fixed=1)
    assert slopes == pytest.approx(factor, rel=1e-4)
