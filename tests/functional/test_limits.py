"""Limits at the infinities, NaN, signed zeros and the ends of each domain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax

INF, NAN, LOG_2 = np.inf, np.nan, np.log(2)
DTYPES = ["bfloat16", "float16", "float32"]

# function: [(argument, value)]; the values are limits, exact in every dtype
VALUES = {
    "sigmoid": [(-INF, 0), (INF, 1), (0.0, 0.5), (-0.0, 0.5)],
    "log_sigmoid": [(-INF, -INF), (INF, -0.0)],
    "log1m_sigmoid": [(-INF, -0.0), (INF, -INF)],
    "softplus": [(-INF, 0), (INF, INF)],
    "softplus_inverse": [(0.0, -INF), (INF, INF), (-1.0, NAN), (-INF, NAN)],
    "silu": [(-INF, -0.0), (INF, INF), (0.0, 0.0), (-0.0, -0.0)],
    "swish": [(-INF, -0.0), (INF, INF)],
    "logit": [
        (0.0, -INF),
        (-0.0, -INF),
        (1.0, INF),
        (0.5, 0),
        (-0.5, NAN),
        (1.5, NAN),
        (INF, NAN),
        (-INF, NAN),
    ],
    "log1mexp": [(0.0, -INF), (INF, -0.0), (-1.0, NAN), (-INF, NAN)],
    "logitexp": [(0.0, INF), (-INF, -INF), (1.0, NAN), (INF, NAN)],
    "logit1mexp": [(0.0, -INF), (-INF, INF), (1.0, NAN), (INF, NAN)],
    "log_cosh": [(-INF, INF), (INF, INF), (0.0, 0.0), (-0.0, 0.0)],
    "cloglog": [(0.0, -INF), (1.0, INF), (-0.5, NAN), (1.5, NAN)],
    "cloglog_inverse": [(-INF, 0), (INF, 1)],
    "tanh_from_sigmoid": [(-INF, -1), (INF, 1), (0.0, 0.0), (-0.0, -0.0)],
    "sigmoid_linear": [(-INF, -INF), (INF, INF), (-2.0, 0), (0.0, 0.5)],
    "sigmoid_linear_error": [(-INF, INF), (INF, INF), (0.0, 0)],
    "hard_sigmoid": [(-INF, 0), (INF, 1), (0.0, 0.5), (-3.0, 0), (3.0, 1)],
}

# function: {argument: (first, second derivative)}
DERIVATIVES = {
    "sigmoid": {-INF: (0, 0), INF: (0, 0), 0.0: (0.25, 0)},
    "log_sigmoid": {-INF: (1, 0), INF: (0, 0), 0.0: (0.5, -0.25)},
    "log1m_sigmoid": {-INF: (0, 0), INF: (-1, 0), 0.0: (-0.5, -0.25)},
    "softplus": {-INF: (0, 0), INF: (1, 0), 0.0: (0.5, 0.25)},
    "softplus_inverse": {0.0: (INF, -INF), INF: (1, 0)},
    "silu": {-INF: (0, 0), INF: (1, 0), 0.0: (0.5, 0.5)},
    "logit": {0.0: (INF, -INF), 1.0: (INF, INF), 0.5: (4, 0), -0.5: (NAN, NAN), 2.0: (NAN, NAN)},
    "log1mexp": {0.0: (INF, -INF), INF: (0, 0)},
    "logitexp": {0.0: (INF, INF), -INF: (1, 0)},
    "logit1mexp": {0.0: (-INF, -INF), -INF: (-1, 0)},
    "log_cosh": {-INF: (-1, 0), INF: (1, 0), 0.0: (0, 1)},
    "cloglog": {0.0: (INF, -INF), 1.0: (INF, INF), 1.5: (NAN, NAN)},
    "cloglog_inverse": {-INF: (0, 0), INF: (0, 0)},
    "tanh_from_sigmoid": {-INF: (0, 0), INF: (0, 0), 0.0: (1, 0)},
    "sigmoid_linear": {-INF: (0.25, 0), INF: (0.25, 0)},
    "hard_sigmoid": {-INF: (0, 0), INF: (0, 0), 3.0: (0, 0)},
}


@pytest.mark.sampled(2, 1)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_values(name, dtype):
    arguments, expected = np.array(VALUES[name], np.float64).T
    result = np.asarray(getattr(sigjax, name)(jnp.asarray(arguments, dtype)), np.float64)
    np.testing.assert_array_equal(result, expected)
    zero = expected == 0
    np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


@pytest.mark.sampled(10)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name, dtype):
    first = jax.grad(getattr(sigjax, name))
    for argument, expected in DERIVATIVES[name].items():
        x = jnp.asarray(argument, dtype)
        result = [float(first(x)), float(jax.grad(first)(x))]
        np.testing.assert_array_equal(result, expected, err_msg=str(x))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", VALUES)
def test_nan_in_nan_out(name, dtype):
    function, x = getattr(sigjax, name), jnp.asarray(NAN, dtype)
    assert np.isnan(function(x))
    assert np.isnan(jax.grad(function)(x)) or name in ("sigmoid_linear_error",)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["sigmoid", "log_sigmoid", "softplus", "silu"])
def test_a_subnormal_argument_acts_as_0(name, dtype):
    function = getattr(sigjax, name)
    smallest = jnp.finfo(dtype).smallest_subnormal
    result = np.asarray(function(jnp.asarray([smallest, -smallest])), np.float64)
    np.testing.assert_allclose(result, np.asarray(function(jnp.zeros(2, dtype))), atol=1e-7)


@pytest.mark.parametrize("order", range(6))
def test_all_derivatives_of_the_sigmoid_vanish_at_both_ends(order):
    ends = jnp.array([-INF, INF])
    expected = [0, 1] if order == 0 else [0, 0]
    np.testing.assert_array_equal(sigjax.sigmoid_derivative(ends, order), expected)
