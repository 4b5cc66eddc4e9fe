"""Arguments of any shape, dtype and value: the truth comes out, or an error that names them."""

import os
import subprocess
import sys
from pathlib import Path

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import sigjax
import sigjax.nn as snn
from experiments.oracle.truth import TRUTHS
from sigjax import losses
from sigjax.probe import safe_norm

pytestmark = pytest.mark.usefixtures("optimized")

FEW = hypothesis.settings(max_examples=8)  # every new shape compiles
SHAPES = st.sampled_from([(), (0,), (1,), (3,), (2, 0), (2, 3), (1, 1, 4)])
MOST = 6  # elements that any of them has
INTEGERS = ("bool", "int8", "uint8", "int32")
FLOATS = ("float16", "bfloat16", "float32")
ELEMENTWISE = sorted(set(TRUTHS) & set(vars(sigjax)))
# In units of the last place of the dtype: what the certificate and `accuracy` hold float32 to.
ALLOWED = {"float16": 0.51, "bfloat16": 0.51, "float32": 4.0}


@st.composite
def values(draw, dtypes=INTEGERS + FLOATS, shape=None):
    """An array with numbers of every size, infinities and NaN among them."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(SHAPES) if shape is None else shape
    if dtype in INTEGERS:
        return draw(arrays.arrays(dtype, shape))
    wide = draw(arrays.arrays("float32", shape, elements=st.floats(width=32)))
    with np.errstate(over="ignore"):
        return np.asarray(jnp.asarray(wide).astype(dtype))


def off_by(found, truth, dtype):
    """The error in units of the last place; 0 where both are the same infinity, NaN or tiny."""
    info = jnp.finfo(dtype)
    truth = np.asarray(truth, np.float64)
    found = np.asarray(found, np.float64)
    big = np.abs(truth) >= float(info.max) * (1 + float(info.eps) / 4)
    rounded = np.where(big, np.copysign(np.inf, truth), truth)
    same = (found == rounded) | (np.isnan(found) & np.isnan(truth))
    tiny = (np.abs(truth) < float(info.tiny)) & (np.abs(found) <= float(info.tiny))
    with np.errstate(invalid="ignore", divide="ignore"):
        exponent = np.floor(np.log2(np.maximum(np.abs(truth), float(info.tiny))))
        error = np.abs(found - truth) / np.exp2(exponent - info.nmant)
    return np.where(same | tiny, 0.0, np.where(np.isnan(error), np.inf, error))


def in_float64(function, x):
    """Of as many elements as any shape has, so that one program does for all."""
    padded = np.full(MOST, 0.5)
    padded[: x.size] = x.astype(np.float64).ravel()
    with jax.enable_x64(True):
        return np.asarray(function(jnp.asarray(padded)))[: x.size].reshape(x.shape)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", ELEMENTWISE)
@FEW
@given(x=values())
def test_an_elementwise_function_gives_the_truth_in_every_shape(name, x):
    found = getattr(sigjax, name)(x)
    dtype = x.dtype.name if x.dtype.name in FLOATS else "float32"
    assert found.shape == x.shape
    assert found.dtype.name == dtype
    truth = in_float64(TRUTHS[name][0], x)
    assert off_by(found, truth, dtype).max(initial=0) <= ALLOWED[dtype]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("number", [0.25, np.float32(0.25), jnp.float32(0.25)])
def test_scalars_are_weak_where_those_of_jax_nn_are(name, number):
    assert getattr(sigjax, name)(number).weak_type == jax.nn.silu(number).weak_type


JOINT = {
    "logaddexp": lambda a, b: np.logaddexp(a, b),
    "soft_switch": None,
    "log_sigmoid_diff": None,
    "logsubexp": None,
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", sorted(JOINT))
@FEW
@given(data=st.data())
def test_a_joint_function_broadcasts_or_names_its_arguments(name, data):
    count = 3 if name == "soft_switch" else 2
    given_arrays = [data.draw(values(FLOATS[2:])) for _ in range(count)]
    function = getattr(sigjax, name)
    try:
        shape = np.broadcast_shapes(*(x.shape for x in given_arrays))
    except ValueError:
        with pytest.raises(
            ValueError, match="arguments 'a' and 'b' must have shapes that broadcast together"
        ):
            function(*given_arrays)
        return
    found = function(*given_arrays)
    assert found.shape == shape
    assert found.dtype == jnp.float32
    missing = np.logical_or.reduce([np.broadcast_to(np.isnan(x), shape) for x in given_arrays])
    assert np.isnan(np.asarray(found))[missing].all()
    if JOINT[name] is not None:
        with np.errstate(invalid="ignore"):
            truth = JOINT[name](*(x.astype(np.float64) for x in given_arrays))
        assert off_by(found, truth, "float32").max(initial=0) <= ALLOWED["float32"]


@FEW
@given(
    logits=values(FLOATS[2:]),
    labels=st.floats(0, 1, width=32),
    axis=st.sampled_from([None, 0, -1, (0, 1), (-1,), 5]),
    weak=st.booleans(),
)
def test_a_loss_has_the_shape_of_its_arguments_less_the_axes(logits, labels, axis, weak):
    z = jnp.full(logits.shape, 0.5) if weak else jnp.asarray(logits)  # the former is weakly typed
    y = np.float32(labels)
    axes = {None: ()}.get(axis, axis if isinstance(axis, tuple) else (axis,))
    if any(not -z.ndim <= each < z.ndim for each in axes):
        with pytest.raises(ValueError, match="axis"):
            losses.sigmoid_binary_cross_entropy(z, y, axis=axis)
        return
    found = losses.sigmoid_binary_cross_entropy(z, y, axis=axis)
    wide = np.asarray(z, np.float64)
    with np.errstate(invalid="ignore"):
        truth = np.where(y > 0, y * np.logaddexp(0, -wide), 0) + np.where(
            y < 1, (1 - y.astype(np.float64)) * np.logaddexp(0, wide), 0
        )
    truth = truth if axis is None else truth.sum(axis)
    assert found.shape == truth.shape
    infinite = ~np.isfinite(truth)
    np.testing.assert_allclose(
        np.asarray(found, np.float64)[~infinite], truth[~infinite], rtol=2e-6, atol=1e-37
    )


@FEW
@given(tree=st.lists(values(FLOATS[2:]), max_size=3))
def test_a_norm_is_that_of_all_elements(tree):
    elements = np.concatenate([np.zeros(1), *(x.astype(np.float64).ravel() for x in tree)])
    largest = np.abs(elements).max()
    scale = largest if 0 < largest < np.inf else 1.0
    truth = np.linalg.norm(elements / scale) * scale
    found = safe_norm([jnp.asarray(x) for x in tree])
    assert off_by(found, truth, "float32").max() <= 4


MODULES = {
    "MLP": lambda rngs: snn.MLP(4, 8, 2, depth=2, rngs=rngs),
    "SigmoidNeuron": lambda rngs: snn.SigmoidNeuron(4, rngs=rngs),
    "MultiLabelHead": lambda rngs: snn.MultiLabelHead(4, 3, rngs=rngs),
    "SoftSwitch": lambda rngs: snn.SoftSwitch(4, 2, rngs=rngs),
    "Highway": lambda rngs: snn.Highway(4, rngs=rngs),
}


LEADING = [(), (0,), (3,), (0, 2), (2, 1, 3)]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_keeps_the_leading_axes(name):
    """All of them in one program, which compiles faster than five."""
    module = MODULES[name](nnx.Rngs(0))
    inputs = [np.ones((*leading, 4), np.float32) for leading in LEADING]
    found = nnx.jit(lambda module, inputs: [module(x) for x in inputs])(module, inputs)
    for leading, outputs in zip(LEADING, found, strict=True):
        assert outputs.shape[: len(leading)] == leading
        assert np.isfinite(outputs).all()


def test_every_wrong_argument_is_named():
    """In a process of its own: here, type checks of the tests' own come first."""
    program = Path(__file__).with_name("wrong_arguments.py")
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": str(program.parents[1])},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "calls" in done.stderr
    assert done.stdout == ""
