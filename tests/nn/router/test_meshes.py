"""Experts and tokens over the axes of a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.nn.router.definition import routed
from tests.nn.router.mixtures import KERNELS, TOKENS, a_router, mixture


@pytest.mark.parametrize("shape", [pytest.param((1, 4), marks=pytest.mark.proof), (2, 2)])
def test_experts_over_an_axis_of_a_mesh(shape):
    """Tokens over one axis, experts over the other; loads and outputs are the whole layer's."""
    router = a_router()
    graph, state = nnx.split(router)
    mesh = jax.make_mesh(shape, ("data", "expert"), axis_types=(AxisType.Auto,) * 2)

    def of_device(state, tokens, kernels):
        routing = nnx.merge(graph, state)(tokens)
        first = lax.axis_index("expert") * kernels.shape[0]
        y = lax.psum(mixture(routing, tokens, kernels, first), "expert")
        return y, lax.psum(routing.load, "data")

    sharded = jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(P(), P("data"), P("expert")),
        out_specs=(P("data"), P()),
    )

    def slopes(state, tokens, kernels):
        def total(state, tokens, kernels):
            y, load = sharded(state, tokens, kernels)
            return jnp.sum(jnp.sin(y)), (y, load)

        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(state, tokens, kernels)

    def alone(state, tokens, kernels):
        def total(state, tokens, kernels):
            routing = nnx.merge(graph, state)(tokens)
            y = mixture(routing, tokens, kernels)
            return jnp.sum(jnp.sin(y)), (y, routing.load)

        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(state, tokens, kernels)

    results = (jax.jit(f)(state, TOKENS, KERNELS) for f in (slopes, alone))
    for found, expected in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_routing_on_explicit_axes_is_sharded_as_the_tokens_are():
    router = a_router(num_groups=4, groups_per_token=2)
    expected = routed(router, TOKENS)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        tokens = jax.device_put(TOKENS, NamedSharding(mesh, P("data")))
        found = jax.jit(router)(tokens)
        slope = jax.jit(jax.grad(lambda x: jnp.sum(router(x).weights ** 2)))(tokens)
    assert found.experts.sharding.spec == found.weights.sharding.spec == P("data", None, None)
    assert slope.sharding.is_equivalent_to(tokens.sharding, slope.ndim)
    for ours, theirs in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
