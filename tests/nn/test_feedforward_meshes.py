"""Feed-forward modules on meshes, beside Flax's Linears with jax.nn's functions between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax
import sigjax.nn as snn
from tests.meshes import collectives

FEATURES = 8
ROWS = np.random.default_rng(0).normal(size=(8, FEATURES)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(8, 2, 2, FEATURES)).astype(np.float32)


class SwiGLU(nnx.Module):
    """A gated unit of a transformer, with a silu of either library."""

    def __init__(self, silu, *, rngs, **options):
        self.silu = silu
        self.gate, self.value, self.out = (
            nnx.Linear(FEATURES, FEATURES, rngs=rngs, **options) for _ in range(3)
        )

    def __call__(self, x):
        return self.out(self.silu(self.gate(x)) * self.value(x))


def mlp(model, x):
    x = jax.nn.sigmoid(model.first.linear(x))

    def layer(x, linear):
        kernel, bias = linear
        return jax.nn.sigmoid(x @ kernel + bias), None

    stack = model.stack.linear
    return model.last(jax.lax.scan(layer, x, (stack.kernel[...], stack.bias[...]))[0])


def squeeze_excite(model, x):
    gates = jax.nn.sigmoid(model.excite(jax.nn.relu(model.squeeze(jnp.mean(x, (1, 2))))))
    return x * gates[:, None, None]


def soft_switch(model, x):
    gate = jax.nn.sigmoid(model.gate(x))
    return gate * model.on(x) + (1 - gate) * model.off(x)


def highway(model, x):
    gate = jax.nn.sigmoid(model.gate(x))
    return gate * jax.nn.relu(model.transform(x)) + (1 - gate) * x


def swiglu(model, x):
    return model.out(jax.nn.silu(model.gate(x)) * model.value(x))


class Module(NamedTuple):
    """One of ours and what it does, said with the same layers.

    Attributes:
      make: the module, from `rngs` and options of its Linears.
      peer: from the module and inputs to outputs.
      inputs: their values.
    """

    make: object
    peer: object
    inputs: np.ndarray = ROWS


MODULES = {
    "MLP": Module(lambda **o: snn.MLP(FEATURES, 8, 4, depth=3, **o), mlp),
    "SigmoidNeuron": Module(
        lambda **o: snn.SigmoidNeuron(FEATURES, prior=0.3, **o),
        lambda model, x: jax.nn.sigmoid(model.linear(x))[..., 0],
    ),
    "MultiLabelHead": Module(
        lambda **o: snn.MultiLabelHead(FEATURES, 4, prior=0.2, **o),
        lambda model, x: model.linear(x),
    ),
    "SqueezeExcite": Module(
        lambda **o: snn.SqueezeExcite(FEATURES, reduction=2, use_bias=True, **o),
        squeeze_excite,
        IMAGES,
    ),
    "SoftSwitch": Module(lambda **o: snn.SoftSwitch(FEATURES, 4, **o), soft_switch),
    "Highway": Module(lambda **o: snn.Highway(FEATURES, **o), highway),
    "SwiGLU": Module(lambda **o: SwiGLU(sigjax.silu, **o), swiglu),
}
BY_UNITS = {
    "kernel_metadata": {"out_sharding": (None, "m")},
    "bias_metadata": {"out_sharding": ("m",)},
}
# kind: (type of the axes, how inputs are sharded, options of the layers)
KINDS = {
    "explicit": (AxisType.Explicit, P("d"), {}),
    "explicit, over both axes": (AxisType.Explicit, P(("d", "m")), {}),
    "auto, layers by units": (AxisType.Auto, P("d"), BY_UNITS),
    "manual": (AxisType.Auto, P("d"), {}),
}


CASES = [
    (name, kind)
    for name in MODULES
    for kind in KINDS
    if (name, kind) != ("SigmoidNeuron", "auto, layers by units")  # one unit cannot be split
]


@pytest.mark.sampled(22)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_mesh_gives_what_the_peer_gives_there_and_exchanges_no_more(name, kind):
    case = MODULES[name]
    axes, place, options = KINDS[kind]
    mesh = jax.make_mesh((2, 2), ("d", "m"), axis_types=(axes,) * 2)
    with jax.set_mesh(mesh):
        model = case.make(rngs=nnx.Rngs(0), **options)
        graph, parameters, rest = nnx.split(model, nnx.Param, ...)
        x = jax.device_put(case.inputs, NamedSharding(mesh, place))

        def compiled(call):
            def outputs(parameters, x):
                return call(nnx.merge(graph, parameters, rest, copy=True), x)

            if kind == "manual":
                specs = {"in_specs": (P(), P("d")), "out_specs": P("d")}
                outputs = jax.shard_map(outputs, mesh=mesh, **specs)

            def total(parameters, x):
                y = outputs(parameters, x)
                return jnp.sum(y**2), y

            gradient = jax.value_and_grad(total, (0, 1), has_aux=True)
            return jax.jit(gradient).lower(parameters, x).compile()

        programs = [compiled(call) for call in (type(model).__call__, case.peer)]
        ours, theirs = (program(parameters, x) for program in programs)
    exchanged, allowed = (collectives(program.as_text()) for program in programs)
    assert exchanged <= allowed
    for found, expected in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    (_, y), (_, of_peer) = ours[0], theirs[0]
    assert y.sharding.is_equivalent_to(of_peer.sharding, y.ndim)
