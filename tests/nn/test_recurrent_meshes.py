"""Recurrences on meshes: explicit, auto and manual axes, forward and backward."""

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn
from tests.draws import normal

IN, HIDDEN, BATCH, STEPS = 4, 8, 4, 6
CELLS = ["GRUCell", "LSTMCell", "MinGRU"]
EXPLICIT, AUTO = AxisType.Explicit, AxisType.Auto
X = normal(0, (BATCH, STEPS, IN))
LENGTHS = jnp.asarray(np.array([6, 0, 3, 1], np.int32))
RESETS = jnp.asarray(np.eye(BATCH, STEPS, dtype=bool))


def program(name, lib=snn, call=(), **options):
    """Loss, its gradients by parameters and inputs, of parameters, inputs, states and marks."""
    rnn = lib.RNN(getattr(lib, name)(IN, HIDDEN, rngs=nnx.Rngs(0), **options), return_carry=True)
    if call:
        rnn.cell.dense_i.__class__ = call  # a layer that is called
    graph, parameters, rest = nnx.split(rnn, nnx.Param, ...)

    def loss(parameters, x, first, marks):
        rnn = nnx.merge(graph, parameters, rest, copy=True)
        last, outputs = rnn(x, initial_carry=first, **marks)
        return jnp.sum(jnp.sin(outputs)) + sum(map(jnp.sum, jax.tree.leaves(last)))

    return jax.value_and_grad(loss, (0, 1)), parameters


def first_state(name):
    first = jnp.linspace(-1, 1, BATCH * HIDDEN).reshape(BATCH, HIDDEN)
    return (first, first / 2) if name == "LSTMCell" else first


class Called(nnx.Linear):
    """A plain layer that says it is none."""


# name: (what is sharded how: inputs, first state, or None where the cell's own is taken; marks)
PLACES = {
    "batch": (P("d"), P("d"), False),
    "batch over both axes, own first state": (P(("d", "m")), None, True),
    "sharded inputs, replicated state": (P("d"), P(), False),
    "features of both": (P("d", None, "m"), P("d", "m"), False),
}


@pytest.mark.sampled(18)
@pytest.mark.parametrize(
    ("place", "kind"),
    [*((place, EXPLICIT) for place in PLACES), ("features of both", AUTO)],
    ids=str,
)
@pytest.mark.parametrize("name", CELLS)
def test_meshes_give_what_one_device_gives(name, place, kind):
    of_x, of_first, marked = PLACES[place]
    marks = {"seq_lengths": LENGTHS, "resets": RESETS} if marked else {}
    call = Called if marked and name == "GRUCell" else ()
    run, parameters = program(name, call=call)
    first = None if of_first is None else first_state(name)
    expected = jax.jit(run)(parameters, X, first, marks)
    mesh = jax.make_mesh((2, 2), ("d", "m"), (kind, kind))
    with jax.set_mesh(mesh):

        def put(tree, spec):
            return jax.device_put(tree, NamedSharding(mesh, spec))

        x, marks = put(X, of_x), put(marks, P(of_x[0]))
        first = None if first is None else put(first, of_first)
        found = jax.jit(run)(parameters, x, first, marks)
    assert_same(found, expected)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", CELLS)
def test_manual_axes_give_what_one_device_gives(name):
    run, parameters = program(name)
    marks = {"seq_lengths": LENGTHS, "resets": RESETS}
    expected = jax.jit(run)(parameters, X, None, marks)
    mesh = jax.make_mesh((4,), ("d",))

    def local(parameters, x, marks):
        value, gradients = run(parameters, x, None, marks)
        return jax.lax.psum(value, "d"), gradients

    # The gradients of replicated parameters come summed over the devices, as Flax's do.
    specs = {"in_specs": (P(), P("d"), P("d")), "out_specs": (P(), (P(), P("d")))}
    with jax.set_mesh(mesh):
        x, marks = jax.device_put((X, marks), NamedSharding(mesh, P("d")))
        found = jax.jit(jax.shard_map(local, **specs))(parameters, x, marks)
    assert_same(found, expected)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("kind", "features"), [(EXPLICIT, False), (AUTO, False), (AUTO, True)], ids=str
)
@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_nothing_is_exchanged_that_flax_does_not_exchange(name, kind, features):
    mesh = jax.make_mesh((2, 2), ("d", "m"), (kind, kind))
    by_units = {"out_sharding": (None, "m")}
    options = {"kernel_metadata": by_units, "recurrent_kernel_metadata": by_units}
    found = []
    for lib in (snn, nnx):
        with jax.set_mesh(mesh):
            run, parameters = program(name, lib, **(options if features else {}))
            place = NamedSharding(mesh, P("d"))
            x, first = jax.device_put((X, first_state(name)), place)
            lowered = jax.jit(run).lower(parameters, x, first, {})
        found.append(exchanges(lowered.compile().as_text()))
    ours, theirs = found
    assert set(ours) <= set(theirs)
    if not features:  # of a GRU's gates side by side XLA moves parts about in several ways
        assert ours <= theirs


def exchanges(compiled):
    """How often the text of a program has each collective."""
    kinds = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"
    return collections.Counter(re.findall(rf"= [^=]*? ({kinds})(?:-start)?\(", compiled))


def assert_same(found, expected):
    leaves = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for ours, theirs in leaves:
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=2e-5, atol=2e-5)
