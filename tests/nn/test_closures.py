"""Modules as functions of their inputs: closed over, exported, copied and pickled."""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.errors import TraceContextError
from jax import lax

import sigjax
import sigjax.nn as snn
from tests.nn.models import IMAGE, MODELS, ROWS, build
from tests.nn.recurrences import CELLS, IN, STEPS
from tests.nn.recurrences import build as cell_of

OF_FEATURES = [name for name, (_, inputs) in MODELS.items() if inputs is ROWS or inputs is IMAGE]


def recurrence(cell, layers):
    x = jnp.sin(jnp.arange(2 * STEPS * IN, dtype=jnp.float32)).reshape(2, STEPS, IN)
    return snn.RNN(cell_of(cell, layers)), x


# What is closed over and its inputs.
CLOSED = {name: functools.partial(build, name) for name in OF_FEATURES} | {
    f"{cell}, {layers}": functools.partial(recurrence, cell, layers)
    for cell in CELLS
    for layers in ("plain", "LoRA of one")
}


def in_evaluation(make):
    model, inputs = make()
    model.eval()
    return model, inputs


@pytest.mark.sampled(18)
@pytest.mark.parametrize("name", CLOSED)
def test_modules_are_closed_over_by_every_transformation(name):
    model, inputs = in_evaluation(CLOSED[name])

    def one(row):
        return model(row[None])[0]

    def total(x):
        return jnp.sum(jnp.sin(model(x)))

    @jax.jit
    def everywhere(x):
        values = {
            "jit": model(x),
            "vmap": jax.vmap(one)(x),
            "map": lax.map(one, x),
            "scan": lax.scan(lambda carry, row: (carry, one(row)), 0, x)[1],
            "remat": jax.checkpoint(model)(x),
            "cond": lax.cond(x[0].sum() > 1e9, jnp.zeros_like, lambda y: y, model(x)),
            "stabilize": sigjax.stabilize(lambda x: model(x))(x),
        }
        direction = jnp.cos(5 * x)
        slopes = {
            "reverse": jnp.sum(jax.grad(total)(x) * direction),
            "forward": jax.jvp(total, (x,), (direction,))[1],
            "remat": jnp.sum(jax.grad(jax.checkpoint(total))(x) * direction),
        }
        return values, slopes

    expected = model(inputs)
    values, slopes = everywhere(inputs)
    for transformation, found in values.items():
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=transformation)
    for mode, found in slopes.items():
        np.testing.assert_allclose(found, slopes["reverse"], rtol=1e-4, err_msg=mode)
    np.testing.assert_allclose(sigjax.stabilize(lambda x: model(x))(inputs), expected, rtol=1e-5)


def test_training_with_batch_statistics_is_not_closed_over_in_silence():
    model = snn.MLP(8, 4, 2, depth=3, norm="batch", rngs=nnx.Rngs(0))
    with pytest.raises(TraceContextError):
        jax.jit(lambda x: model(x))(ROWS)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", OF_FEATURES)
def test_export_with_a_symbolic_batch(name):
    model, inputs = in_evaluation(functools.partial(build, name))
    (batch,) = jax.export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *inputs.shape[1:]), inputs.dtype)
    exported = jax.export.export(jax.jit(lambda x: model(x)))(shape)
    np.testing.assert_allclose(exported.call(inputs), model(inputs), rtol=1e-5, atol=1e-6)


# The same functions inside: a program compiled for one is not compiled again for the other.
called = nnx.jit(lambda model, x: model(x))


@pytest.mark.slice
@pytest.mark.sampled(12)
@pytest.mark.parametrize("through", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("name", MODELS)
def test_copies_and_pickles(name, through):
    model, inputs = in_evaluation(functools.partial(build, name))
    twin = through(model)
    assert nnx.graphdef(twin) == nnx.graphdef(model)
    np.testing.assert_array_equal(called(twin, inputs), called(model, inputs))
