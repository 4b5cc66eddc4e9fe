"""Sigmoid attention on meshes."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.nn.sigmoid_attention.reference import attention

# inputs' shardings: of queries, of keys and values, and of the outputs
MESHES = {
    "batch and heads": (P("d", None, "m"), P("d", None, "m"), P("d", None, "m")),
    "sequence and heads": (P(None, "d", "m"), P(None, "d", "m"), P(None, "d", "m")),
    "heads, over more devices than keys have": (
        P(None, None, ("d", "m")), P(), P(None, None, ("d", "m")),
    ),
}  # fmt: skip
MORE_MESHES = {
    "batch and sequence": (P("d", "m"), P("d", "m"), P("d", "m")),
    "queries alone": (P(None, ("d", "m")), P(), P(None, ("d", "m"))),
    "keys alone": (P(), P("d", None, "m"), P("d", None, "m")),
}


@pytest.mark.sampled(2)
@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("explicit", MESHES),
        ("manual", {"batch": (P("d"),) * 3}),
        pytest.param("explicit", MORE_MESHES, marks=pytest.mark.proof),
        pytest.param("auto", MESHES | MORE_MESHES, marks=pytest.mark.proof),
    ],
)
def test_meshes_give_the_same_numbers(kind, places):
    """On explicit axes the outputs are divided as the queries are, and gradients as inputs are."""
    q, ct = np.random.default_rng(2).normal(size=(2, 2, 12, 4, 3)).astype(np.float32)
    k, v = np.random.default_rng(3).normal(size=(2, 2, 12, 2, 3)).astype(np.float32)
    mask = np.random.default_rng(4).random((2, 1, 12, 12)) < 0.7

    def run(q, k, v, ct, mask):
        y, pull = jax.vjp(lambda *a: attention(*a, mask=mask, is_causal=True), q, k, v)
        return y, *pull(ct)

    expected = jax.jit(run)(q, k, v, ct, mask)
    axes = AxisType.Explicit if kind == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((2, 2), ("d", "m"), axis_types=(axes,) * 2)
    with jax.set_mesh(mesh):
        if kind == "manual":
            run = jax.shard_map(run, in_specs=P("d"), out_specs=P("d"))
        program = jax.jit(lambda every: [run(*given, mask) for given in every])
        found = program([
            tuple(
                jax.device_put(x, NamedSharding(mesh, place))
                for x, place in ((q, of_q), (k, of_k), (v, of_k), (ct, of_y))
            )
            for of_q, of_k, of_y in places.values()
        ])  # fmt: skip
    for one, (of_q, of_k, of_y) in zip(found, places.values(), strict=True):
        for x, y, place in zip(one, expected, (of_y, of_q, of_k, of_k), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
            if kind == "explicit":
                assert x.sharding.is_equivalent_to(NamedSharding(mesh, place), 4)
