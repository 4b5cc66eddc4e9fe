"""Derivatives of any order of the sigmoid, and what its arguments may be."""

import jax
import mpmath as mp
import numpy as np
import pytest

import sigjax

POINTS = (-30.0, -3.7, -0.2, 0.0, 1.0, 2.5, 12.0, 60.0)


@pytest.mark.parametrize("order", range(9))
def test_every_order_against_a_taylor_series(order):
    with mp.workdps(60), jax.enable_x64(True):
        for x in POINTS:
            series = mp.taylor(lambda z: 1 / (1 + mp.exp(-z)), mp.mpf(x), order)
            expected = float(series[order] * mp.factorial(order))
            result = float(sigjax.sigmoid_derivative(np.float64(x), order))
            tail = float(mp.exp(-abs(mp.mpf(x)))) * mp.factorial(order)
            assert abs(result - expected) <= 1e-14 * float(tail) + 1e-15 * abs(expected)


def test_nested_gradients_are_the_closed_forms():
    function = sigjax.sigmoid
    for order in range(1, 5):
        function = jax.grad(function)
        for x in POINTS:
            assert function(x) == sigjax.sigmoid_derivative(x, order)


def test_a_negative_order():
    with pytest.raises(ValueError, match="argument 'order' must be at least 0, got -1"):
        sigjax.sigmoid_derivative(0.0, -1)
