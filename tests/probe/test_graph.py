"""The order of layers in hand-written programs, with known answers."""

import jax
import jax.numpy as jnp
from jax import lax

from sigjax.probe._flat import Flat
from sigjax.probe._graph import Provenance, chains, graph_of, post_dominators
from sigjax.probe._layers import operation_layers
from sigjax.probe._uses import use_of

SIZE = 3


def graph(loss, names, count=0):
    """The graph of a loss of weights, each a layer; `count` is of other inputs."""
    weights = {name: jnp.eye(SIZE) for name in names}
    others = [jnp.ones((2, SIZE))] * count
    flat = Flat(jax.make_jaxpr(loss)(weights, *others), len(names))
    names = sorted(names)
    layers = operation_layers(flat, names, [use_of(flat, v) for v in flat.inputs[: len(names)]])
    return graph_of(flat, Provenance(flat, layers.outputs))


def edges(found):
    """For each layer those directly before it, by name."""
    names = [node.layer.path for node in found.nodes]
    return {names[i]: [names[n] for n in node.before] for i, node in enumerate(found.nodes)}


def following(found):
    names = [node.layer.path for node in found.nodes]
    return {
        names[i]: "loss" if after == -1 else names[after]
        for i, after in enumerate(post_dominators(found))
    }


def test_a_chain():
    found = graph(lambda w, x: jnp.sum(jnp.tanh(x @ w["a"]) @ w["b"] @ w["c"]), "abc", 1)
    assert edges(found) == {"a": [], "b": ["a"], "c": ["b"]}
    assert following(found) == {"a": "b", "b": "c", "c": "loss"}
    assert list(chains(found)) == [[0, 1, 2]]
    assert found.last == (2,)
    assert found.used() == {0, 1, 2}


def test_a_residual_block():
    """A skip around b and c meets their result in d."""

    def loss(w, x):
        h = x @ w["a"]
        return jnp.sum((h + jnp.tanh(h @ w["b"]) @ w["c"]) @ w["d"])

    found = graph(loss, "abcd", 1)
    assert edges(found) == {"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]}
    assert following(found) == {"a": "d", "b": "c", "c": "d", "d": "loss"}
    assert list(chains(found)) == [[0, 3], [1, 2, 3]]


def test_two_towers_and_two_losses():
    """Neither tower is on the other's way; a head of each, and a trunk below both."""

    def loss(w, x):
        trunk = x @ w["a"]
        return jnp.sum(trunk @ w["b"]) + jnp.sum(trunk @ w["c"] @ w["d"])

    found = graph(loss, "abcd", 1)
    assert edges(found) == {"a": [], "b": ["a"], "c": ["a"], "d": ["c"]}
    assert following(found) == {"a": "loss", "b": "loss", "c": "d", "d": "loss"}
    assert set(found.last) == {1, 3}


def test_nested_skips():
    """The diamond b, c inside the diamond a .. e; post-dominators as a textbook draws them."""

    def loss(w, x):
        a = x @ w["a"]
        inner = (a @ w["b"] + a @ w["c"]) @ w["d"]
        return jnp.sum((inner + a) @ w["e"])

    assert following(graph(loss, "abcde", 1)) == {
        "a": "e", "b": "d", "c": "d", "d": "e", "e": "loss"
    }  # fmt: skip


def test_what_the_loss_does_not_use_has_itself():
    def loss(w, x):
        return jax.jit(lambda x: (x @ w["b"], jnp.sum(x @ w["a"])))(x)[1]

    found = graph(loss, "ab", 1)
    assert following(found) == {"a": "loss", "b": "b"}
    assert found.used() == {[n.layer.path for n in found.nodes].index("a")}


def test_a_loop_through_time():
    """What a step carries back comes from both layers; a layer is not before itself."""

    def loss(w, x, xs):
        def step(h, x):
            h = jnp.tanh(x[None] @ w["a"] + h @ w["b"])
            return h, None

        return jnp.sum(lax.scan(step, x[:1], xs)[0] @ w["c"])

    found = graph(loss, "abc", 2)
    assert {name for name, before in edges(found).items() if not before} == {"a"}
    assert following(found)["c"] == "loss"
    assert edges(found)["c"] == ["a", "b"]


def test_delicate_operations_are_between_the_right_layers():
    def loss(w, x):
        return jnp.mean(jnp.sqrt(jnp.log(x @ w["a"]) @ w["b"]))

    found = graph(loss, "ab", 1)
    assert [node.between for node in found.nodes] == [(), ("log of 0 or of a negative number",)]
    assert found.after == ("sqrt at 0, whose slope is infinite", "a division by 0")
