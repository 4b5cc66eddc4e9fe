"""Which layers a gradient can come to, decided by dependence in the traced program."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec

from sigjax.probe import diagnose

X = jnp.linspace(-1, 1, 24).reshape(8, 3)


@jax.custom_vjp
def rounded(x):
    """With a straight-through gradient (Bengio, Leonard & Courville 2013)."""
    return jnp.round(x)


rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, gradient: (gradient,))


def weights(names):
    keys = jax.random.split(jax.random.key(0), len(names))
    return {n: jax.random.normal(k, (3, 3)) / 2 for n, k in zip(names, keys, strict=True)}


def found(model, loss, *batch):
    """For each finding of reach its layers."""
    kinds = ("detached", "unused")
    report = diagnose(model, loss, *batch)
    return {f.kind: set(f.layers) for f in report.findings if f.kind in kinds}


def test_every_way_without_a_derivative_is_detached():
    """One program, a layer before each operation."""

    def loss(w, x):
        chosen = jnp.argmax(x @ w["argmax"], -1)
        several = [
            x @ w["direct"],
            lax.stop_gradient(x @ w["stop"]),
            jnp.round(x @ w["round"]),
            jnp.sign(x @ w["sign"]),
            (x @ w["floor"]).astype(jnp.int32).astype(jnp.float32),
            jnp.where(x @ w["compared"] > 0, x, 2 * x),
            jax.nn.one_hot(chosen, 3),
            jnp.take_along_axis(x, chosen[:, None], 1),
        ]
        return sum(jnp.mean(jnp.sin(y)) for y in several)

    names = ("argmax", "compared", "direct", "floor", "round", "sign", "stop")
    assert found(weights(names), loss, X) == {"detached": set(names) - {"direct"}}


def test_straight_through_estimators_are_reached():
    def loss(w, x):
        first = x @ w["by_difference"]
        first = first + lax.stop_gradient(jnp.round(first) - first)
        second = rounded(x @ w["by_rule"])
        hard = jax.nn.one_hot(jnp.argmax(x @ w["by_softmax"], -1), 3)
        soft = jax.nn.softmax(x @ w["by_softmax"])
        third = hard + soft - lax.stop_gradient(soft)
        return jnp.sum(jnp.sin(first + second + third))

    assert found(weights(("by_difference", "by_rule", "by_softmax")), loss, X) == {}


def test_what_is_computed_for_nothing_is_unused():
    def loss(w, x):
        idle = jnp.tanh(x @ w["idle"])
        zero = jnp.zeros_like(idle @ w["shape_only"])
        return jnp.mean((x @ w["used"] + zero) ** 2)

    names = ("idle", "never", "shape_only", "used")
    assert found(weights(names), loss, X) == {"unused": {"idle", "never", "shape_only"}}


@pytest.mark.parametrize("way", ["branches", "loop", "remat", "compiled", "mesh", "while"])
def test_bodies_are_looked_into(way):
    """In each of them `cut` stands behind a stop, and `open` does not."""

    def body(w, x):
        return jnp.tanh(x @ w["open"]) + lax.stop_gradient(x @ w["cut"])

    def loss(w, x):
        if way == "branches":
            y = lax.cond(x[0, 0] > 0, body, lambda w, x: x @ w["open"], w, x)
        elif way == "loop":
            y = lax.scan(lambda h, _: (body(w, h), None), x, length=2)[0]
        elif way == "remat":
            y = jax.checkpoint(body)(w, x)
        elif way == "compiled":
            y = jax.jit(body)(w, x)
        elif way == "while":  # no gradient passes a loop of unknown length, but around it
            cut = lax.stop_gradient(x @ w["cut"])
            y = lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (0, cut))[1]
            y = y + x @ w["open"]
        else:
            mesh = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
            spec = PartitionSpec("d")
            y = jax.shard_map(body, mesh=mesh, in_specs=(PartitionSpec(), spec), out_specs=spec)(
                w, x
            )
        return jnp.mean(y**2)

    assert found(weights(("cut", "open")), loss, X) == {"detached": {"cut"}}


class Parts(nnx.Module):
    """Parameters wherever Flax lets them be."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(5, 3, rngs=rngs)
        self.scale = nnx.Param(jnp.ones(3))
        self.unread = nnx.Param(jnp.ones(3))
        self.pieces = nnx.List([nnx.Param(jnp.full(3, 0.1 * i)) for i in range(1, 3)])
        self.table = nnx.Dict(a=nnx.Param(jnp.ones(3)))
        self.coder = nnx.Linear(3, 3, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(3, 1, rngs=rngs) for _ in range(3)])

    def encode(self, tokens):
        x = self.embed(tokens) * self.scale[...]
        return jnp.tanh(self.coder(x + self.pieces[0][...] + self.pieces[1][...]))

    def __call__(self, tokens):
        x = self.encode(tokens) + self.table["a"][...]
        return self.embed.attend(x), [head(x) for head in self.heads]


def test_parameters_anywhere_in_a_model():
    """Tied weights, several losses, a head that none of them uses, one behind a stop."""

    def loss(model, tokens):
        logits, (first, second, _) = model(tokens)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], 1)
        return -jnp.mean(chosen) + jnp.mean(first**2) + jnp.mean(lax.stop_gradient(second))

    model, tokens = Parts(), jnp.arange(8) % 5
    assert found(model, loss, tokens) == {"detached": {"heads.1"}, "unused": {"heads.2"}}

    def of_the_read_ones_only(model, tokens):
        return jnp.mean(model.encode(tokens) ** 2)

    assert found(model, of_the_read_ones_only, tokens) == {"unused": {"table", "heads"}}


def test_two_networks_of_one_game_have_a_loss_each():
    """The critic's loss leaves the actor out, and the other way round."""

    def actor(w, x):
        value = lax.stop_gradient(x @ w["critic"])
        return jnp.mean(jax.nn.softmax(x @ w["actor"]) * value)

    def both(w, x):
        return actor(w, x) + jnp.mean((x @ w["critic"] - 1) ** 2)

    model = weights(("actor", "critic"))
    assert found(model, actor, X) == {"detached": {"critic"}}
    assert found(model, both, X) == {}


def test_a_part_that_is_not_reached_is_named_as_a_whole():
    class Branch(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 3, rngs=rngs)
            self.second = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x):
            return self.second(jnp.tanh(self.first(x)))

    class Model(nnx.Module):
        def __init__(self):
            self.target = Branch(nnx.Rngs(0))
            self.online = Branch(nnx.Rngs(1))

    def loss(model, x):
        return jnp.mean((model.online(x) - lax.stop_gradient(model.target(x))) ** 2)

    assert found(Model(), loss, X) == {"detached": {"target"}}
