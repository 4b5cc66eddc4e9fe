"""Models that are plain pytrees: names of their layers, and the norms of the same Flax model."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from sigjax.probe import diagnose, value_and_grad
from tests.draws import normal

WIDTH = 6
X = normal(0, (8, WIDTH))
FIRST, SECOND = (normal(seed, (WIDTH, WIDTH), 0.5) for seed in (1, 2))
BIAS = jnp.asarray(np.linspace(-0.5, 0.5, WIDTH, dtype=np.float32))


def names(report):
    return [row.name for row in report.rows]


def net(first, second, bias, x):
    return jnp.mean(jnp.square(jnp.tanh(x @ first + bias) @ second))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Weights:
    first: jax.Array
    bias: jax.Array
    second: jax.Array


class Pair(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.second = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.first.kernel.set_value(FIRST)
        self.first.bias.set_value(BIAS)
        self.second.kernel.set_value(SECOND)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


TREES = {
    "dict": (
        {"first": FIRST, "second": SECOND, "bias": BIAS},
        lambda p, x: net(p["first"], p["second"], p["bias"], x),
        ["first", "second", "bias"],
    ),
    "list": ([FIRST, SECOND, BIAS], lambda p, x: net(*p, x), ["0", "1", "2"]),
    "nested": (
        {"a": {"w": FIRST, "b": BIAS}, "z": [{"w": SECOND}], "steps": jnp.arange(3)},
        lambda p, x: net(p["a"]["w"], p["z"][0]["w"], p["a"]["b"], x),
        ["a", "z.0"],
    ),
    "names with slashes": (
        {"mlp/~/linear_0": {"w": FIRST, "b": BIAS}, "mlp/~/linear_1": {"w": SECOND}},
        lambda p, x: net(p["mlp/~/linear_0"]["w"], p["mlp/~/linear_1"]["w"], *_bias(p), x),
        ["mlp/~/linear_0", "mlp/~/linear_1"],
    ),
    "dataclass": (
        Weights(FIRST, BIAS, SECOND),
        lambda p, x: net(p.first, p.second, p.bias, x),
        ["first", "second", "bias"],
    ),
}


def _bias(parameters):
    return (parameters["mlp/~/linear_0"]["b"],)


@pytest.fixture(scope="module")
def of_flax():
    return diagnose(Pair(), lambda m, x: jnp.mean(m(x) ** 2), X).rows


@pytest.mark.parametrize("kind", TREES)
def test_layers_are_named_by_their_place_and_measured_as_in_flax(kind, of_flax):
    tree, loss, expected = TREES[kind]
    before = jax.tree.map(lambda x: x, tree)
    report = diagnose(tree, loss, X)
    assert names(report) == expected
    assert report.findings == []
    chex.assert_trees_all_equal(tree, before)
    # A layer without a bias is its product: the same gradient comes out of both.
    for row, other in zip(report.rows[:2], of_flax, strict=True):
        np.testing.assert_allclose(row.log10_gradient, other.log10_gradient, atol=1e-6)
        assert row.activation == other.activation
    np.testing.assert_allclose(report.rows[1].log10_rms, of_flax[1].log10_rms, atol=1e-6)


def test_gradients_have_the_structure_of_the_tree():
    tree, loss, _ = TREES["nested"]
    tree = {**tree, "steps": jnp.arange(3), "nothing": None}
    value, gradients, _ = value_and_grad(loss)(tree, X)
    plain, expected = jax.value_and_grad(loss, allow_int=True)(tree, X)
    np.testing.assert_allclose(value, plain, rtol=1e-6)
    assert gradients["steps"] is None
    for part in ("a", "z"):
        chex.assert_trees_all_close(gradients[part], expected[part], rtol=1e-5)


def test_parameters_of_linen_in_a_functional_loss():
    module = linen.Sequential([linen.Dense(WIDTH), jnp.tanh, linen.Dense(WIDTH)])
    variables = module.init(jax.random.key(0), X)
    report = diagnose(variables, lambda v, x: jnp.mean(module.apply(v, x) ** 2), X)
    assert names(report) == ["params.layers_0", "params.layers_2"]
    own = jax.grad(lambda v: jnp.mean(module.apply(v, X) ** 2))(variables)["params"]
    for row, name in zip(report.rows, ("layers_0", "layers_2"), strict=True):
        every = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(own[name])])
        norm = np.log10(np.linalg.norm(every.astype(np.float64)))
        np.testing.assert_allclose(row.log10_parameter_gradient, norm, atol=1e-6)


def test_look_ups_convolutions_and_stacks_are_layers():
    keys = jax.random.split(jax.random.key(0), 3)
    tree = {
        "table": jax.random.normal(keys[0], (5, WIDTH)),
        "conv": {"kernel": jax.random.normal(keys[1], (3, WIDTH, WIDTH)) / 4},
        "stack": jax.random.normal(keys[2], (3, WIDTH, WIDTH)) / 2,
    }

    def loss(p, tokens):
        x = p["table"][tokens]
        x = jax.lax.conv_general_dilated(
            x, p["conv"]["kernel"], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return jnp.mean(jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, p["stack"])[0] ** 2)

    report = diagnose(tree, loss, jnp.arange(8).reshape(2, 4) % 5)
    assert names(report) == ["table", "conv", "stack[0]", "stack[1]", "stack[2]"]
    assert [row.kind for row in report.rows[:2]] == ["gather", "conv_general_dilated"]
    broken = tree | {"stack": tree["stack"].at[1].multiply(1e-4)}
    (finding,) = diagnose(broken, loss, jnp.arange(8).reshape(2, 4) % 5).findings
    assert (finding.kind, finding.layers) == ("jump", ("stack[1]",))


@pytest.mark.filterwarnings("default")  # of the other libraries
def test_an_equinox_module(of_flax):
    equinox = pytest.importorskip("equinox")

    class Model(equinox.Module):
        first: equinox.nn.Linear
        second: equinox.nn.Linear
        width: int = equinox.field(static=True)

        def __call__(self, x):
            return self.second(jnp.tanh(self.first(x)))

    first, second = (
        equinox.nn.Linear(WIDTH, WIDTH, use_bias=bias, key=jax.random.key(0))
        for bias in (True, False)
    )
    first = equinox.tree_at(lambda layer: (layer.weight, layer.bias), first, (FIRST.T, BIAS))
    second = equinox.tree_at(lambda layer: layer.weight, second, SECOND.T)
    model = Model(first, second, WIDTH)
    report = diagnose(model, lambda m, x: jnp.mean(jax.vmap(m)(x) ** 2), X)
    assert names(report) == ["first", "second"]
    for row, other in zip(report.rows, of_flax, strict=True):
        np.testing.assert_allclose(row.log10_gradient, other.log10_gradient, atol=1e-6)


@pytest.mark.filterwarnings("default")  # of the other libraries
def test_haiku():
    haiku = pytest.importorskip("haiku")
    forward = haiku.without_apply_rng(
        haiku.transform(lambda x: haiku.nets.MLP([WIDTH, WIDTH], activation=jnp.tanh)(x))
    )
    parameters = forward.init(jax.random.key(0), X)
    report = diagnose(parameters, lambda p, x: jnp.mean(forward.apply(p, x) ** 2), X)
    assert names(report) == ["mlp/~/linear_0", "mlp/~/linear_1"]
