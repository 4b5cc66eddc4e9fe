"""RG-LRUs on meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from sigjax.nn._rg_lru._sequence import CHUNK
from tests.nn.rg_lru.units import data, program, unit


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("place", "state"),
    [(P(None, ("d", "m")), None), (P(None, "d", "m"), P("d", "m"))],
    ids=["batch", "batch and features"],
)
def test_meshes_give_what_one_device_gives(place, state):
    steps = 2 * CHUNK if state is None else 6
    x, first, cotangent, starts = data(steps, batch=4, features=8)
    x, first, cotangent = (jnp.asarray(a, jnp.float32) for a in (x, first, cotangent))
    cell = unit(features=8, heads=4)
    _, weights = program(cell)

    def everything(weights, x, first, starts, cotangent):
        run, _ = program(cell, resets=starts)

        def loss(weights, x):
            outputs, last = run(weights, x, first)
            return jnp.sum(outputs * cotangent) + jnp.sum(last)

        return jax.value_and_grad(loss, (0, 1))(weights, x)

    first = None if state is None else first
    expected = jax.jit(everything)(weights, x, first, jnp.asarray(starts), cotangent)
    mesh = jax.make_mesh((2, 2), ("d", "m"), (AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):

        def put(array, spec):
            return jax.device_put(array, NamedSharding(mesh, spec))

        first = None if first is None else put(first, state)
        marks = put(jnp.asarray(starts), P(*tuple(place)[:2]))
        found = jax.jit(everything)(weights, put(x, place), first, marks, put(cotangent, place))
    for ours, one in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(np.asarray(ours), one, rtol=2e-5, atol=2e-5)
