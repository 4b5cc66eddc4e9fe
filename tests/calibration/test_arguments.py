"""What people bring: the same numbers in every container, or an error that names the argument."""

import array

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from sigjax.calibration import (
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    reliability_curve,
)

P = np.array([0.25, 0.375, 0.8125, 0.875, 0.625])  # which 16 bits hold
Y = np.array([0, 1, 1, 1, 0])
# Each is alone in its bin, or like its neighbours there; the same of two classes, where the
# forecast is the larger of p and 1 - p.
ERROR = np.abs(Y - P).sum() / 5


class Tensor:
    """What a tensor of another library shows to NumPy."""

    dtype = "tensor.float32"

    def __array__(self, dtype=None, copy=None):
        return P.astype(np.float32)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


CONTAINERS = {
    "list": (P.tolist(), Y.tolist()),
    "tuple": (tuple(P), tuple(Y)),
    "list of JAX numbers": ([jnp.float32(v) for v in P], Y),
    "column of a table": (pd.Series(P, index=[4, 2, 0, 1, 3]), pd.Series(Y)),
    "nullable column": (pd.Series(P, dtype="Float64"), pd.Series(Y > 0, dtype="boolean")),
    "table of one column": (pd.DataFrame({"p": P}), Y),
    "read-only": (read_only(P), read_only(Y)),
    "every second": (np.repeat(P, 2)[::2], np.repeat(Y, 2)[::2]),
    "Fortran order": (np.asfortranarray(np.stack([1 - P, P], axis=1)), Y),
    "big-endian": (P.astype(">f8"), Y.astype(">i4")),
    "big-endian labels of 64 bits": (P.astype(">f4"), Y.astype(">i8")),
    "float16": (P.astype(np.float16), Y.astype(np.int8)),
    "bfloat16": (jnp.asarray(P, jnp.bfloat16), Y.astype(np.uint64)),
    "longdouble": (P.astype(np.longdouble), Y.astype(float)),
    "array.array": (array.array("d", P), array.array("q", Y)),
    "memoryview": (memoryview(P), Y > 0),
    "nothing masked": (np.ma.array(P), Y),
    "parameter of a module": (nnx.Param(jnp.asarray(P)), Y),
    "tensor": (Tensor(), Y),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container):
    probabilities, labels = CONTAINERS[container]
    found = expected_calibration_error(probabilities, labels)
    np.testing.assert_allclose(found, ERROR, rtol=1e-6)


TWO = np.stack([1 - P, P], axis=1)
REFUSED = {
    "an object array": ((P.astype(object), Y), TypeError, "'probabilities' must be real .* object"),
    "labels in an object array": ((P, Y.astype(object)), TypeError, "'labels' must be real"),
    "strings": ((P, list("01110")), TypeError, "'labels' must be real numbers, got"),
    "time spans": ((P, Y.astype("m8[s]")), TypeError, "'labels' must be real numbers, got"),
    "complex": ((P + 0j, Y), TypeError, "'probabilities' must be real"),
    "a missing value": ((pd.Series([0.1, None], dtype="Float64"), [0, 1]), ValueError, "got nan"),
    "masked": ((np.ma.array(P, mask=Y > 0), Y), ValueError, "'probabilities' .* masked"),
    "ragged": (([[0.5, 0.5], [1.0]], [0, 1]), ValueError, "'probabilities' must be an array"),
    "nothing": (([], []), ValueError, "'probabilities' .* not be empty"),
    "a scalar": ((0.3, 1), ValueError, "'probabilities' must have shape"),
    "a column of labels": ((P, Y[:, None]), ValueError, r"'labels' must have shape \(5,\)"),
    "-1 of one event": ((P, 2 * Y - 1), ValueError, "'labels' .* got -1 at index 0"),
    "half": ((P, [0, 1, 0.5, 1, 0]), ValueError, "'labels' .* got 0.5 at index 2"),
    "2^32 + 1": ((P, np.array([0, 1, 2**32 + 1, 1, 0])), ValueError, "got 4294967297 at index 2"),
    "class -1": ((TWO, [0, 1, -1, 1, 0]), ValueError, "classes from 0 to 1, got -1 at index 2"),
    "class 7": ((TWO, [0, 1, 1, 7, 0]), ValueError, "classes from 0 to 1, got 7 at index 3"),
    "class 1/2": ((TWO, [0, 0.5, 1, 1, 0]), ValueError, "got 0.5 at index 1"),
    "class NaN": ((TWO, [np.nan, 1, 1, 1, 0]), ValueError, "got nan at index 0"),
    "unlikely": (([0.2, 1.0000002], [0, 1]), ValueError, "must lie in .* at index 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    arguments, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        expected_calibration_error(*arguments)


def test_labels_of_8_bits_do_not_wrap_at_300_classes():
    # Class 44 is 300 modulo 256.
    p = np.eye(300, dtype=np.float32)[[0, 1, 299, 44]]
    assert float(expected_calibration_error(p, np.array([0, 1, 43, 44], np.uint8))) == 0.25


def test_a_column_is_one_event():
    np.testing.assert_array_equal(expected_calibration_error(P[:, None], Y), np.float32(ERROR))
    logits = np.array([3.0, 3.0, 3.0, 3.0])
    column = fit_temperature(logits[:, None], [1, 1, 1, 0])
    assert column.classes is None
    np.testing.assert_allclose(column.temperature, 3 / np.log(3), rtol=1e-6)
    np.testing.assert_allclose(column(logits[:, None]), 0.75, rtol=1e-6)


def test_whole_scores_do_not_wrap():
    scores = np.array([-2, 1, 1, 3, 0])
    plain, large = fit_platt(scores, Y), fit_platt(scores * 2**40, Y)
    np.testing.assert_allclose(large.a * 2.0**40, plain.a, rtol=1e-6)
    np.testing.assert_allclose(large(scores * 2**40), plain(scores), rtol=1e-5)


def test_lists_of_traced_numbers():
    found = jax.jit(lambda p: expected_calibration_error([p, 0.5], [0, 1]))(0.25)
    assert float(found) == 0.375


# Of weights alone; scores and labels are constants of the traced function.
OF_WEIGHTS = {
    "error": lambda y, w: expected_calibration_error(P, y, weights=w),
    "curve": lambda y, w: reliability_curve(jnp.float32(P), y, weights=w).frequency,
    "platt": lambda y, w: fit_platt(jnp.float32(P), y, weights=w)(P),
    "temperature": lambda y, w: fit_temperature(np.log(TWO), y, weights=w).temperature,
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", OF_WEIGHTS)
def test_constants_of_a_traced_function(name):
    found = OF_WEIGHTS[name]
    weights = jnp.float32([1, 2, 1, 0.5, 1])
    np.testing.assert_allclose(
        jax.jit(lambda w: found(Y, w))(weights), found(Y, weights), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"'labels' must be .* got 2 at index 1"):
        jax.jit(lambda w: found([0, 2, 1, 1, 0], w))(weights)
    with pytest.raises(ValueError, match="'weights' must not all be 0"):
        jax.jit(lambda y: found(y, np.zeros(5)))(Y)


BAD = {
    "probability": ([0.2, 1.5], [0, 1], [1.0, 1.0]),
    "NaN": ([0.2, np.nan], [0, 1], [1.0, 1.0]),
    "label": ([0.2, 0.4], [0, 2], [1.0, 1.0]),
    "weight": ([0.2, 0.4], [0, 1], [1.0, -1.0]),
    "no weight": ([0.2, 0.4], [0, 1], [0.0, 0.0]),
}


def test_what_cannot_be_is_nan_where_it_cannot_be_refused():
    columns = [np.array(c, np.float32) for c in zip(*BAD.values(), strict=True)]

    def of_one(p, y, w):
        platt, temperature = fit_platt(p, y, weights=w), fit_temperature(p, y, weights=w)
        return (
            expected_calibration_error(p, y, weights=w),
            (platt.a, platt.b, temperature.temperature),
            (platt.converged, temperature.converged),
        )

    error, fits, converged = jax.jit(jax.vmap(of_one))(*columns)
    assert np.isnan(error).all()
    possible = np.array([name == "probability" for name in BAD])  # a score like any other
    assert not np.any(np.stack(converged) & ~possible)
    for fit in fits:
        np.testing.assert_array_equal(np.isnan(fit), ~possible)
