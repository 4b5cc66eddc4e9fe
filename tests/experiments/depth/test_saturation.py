"""Saturation of top layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.datasets import shapeset
from experiments.depth import saturation
from experiments.depth._saturating import ACTIVATIONS, BLOCKS, trainer


@pytest.mark.proof
def test_saturation(small_run):
    config = saturation.Config(data="digits", width=60, steps=300, initial_width=1000, draws=1)
    found = small_run(saturation, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 5
    assert all(claim.verdict == "holds" for claim in statistical), statistical


@pytest.mark.proof
def test_saturation_on_shapes_that_are_drawn_for_every_example():
    run = trainer(jax.random.key(0), "shapes", width=60, steps=2000, batch=10)
    tanh = list(ACTIVATIONS).index("tanh")
    found = run(jnp.int32(tanh), jnp.int32(2), jnp.float32(0.05))
    assert found.accuracy[-1] > 2 / shapeset.CLASSES  # twice what chance gives
    assert found.mean.shape == (BLOCKS, 5)
    assert np.isfinite(found.mean).all()
