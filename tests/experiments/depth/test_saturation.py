"""Saturation of top layers."""

import jax
import numpy as np
import pytest

from experiments.datasets import shapeset
from experiments.depth import saturation


@pytest.mark.proof
def test_saturation(small_run):
    config = saturation.Config(data="digits", width=60, steps=300, initial_width=1000, draws=1)
    found = small_run(saturation, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 5
    assert all(claim.verdict == "holds" for claim in statistical), statistical


@pytest.mark.proof
def test_saturation_on_shapes_that_are_drawn_for_every_example():
    config = saturation.Config(data="shapes", width=60, steps=2000, tanh_rate=0.05)
    point = {"activation": "tanh", "depth": 2}
    found = saturation._train(point, config, jax.random.key(0))
    assert float(found["accuracy"][-1]) > 2 / shapeset.CLASSES  # twice what chance gives
    means = found["mean"].values
    assert means.shape == (50, 2)
    assert np.isfinite(means).all()
