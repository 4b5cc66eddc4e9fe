"""Cross-entropy: values, gradients, masks, arguments, and optax's cases."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from jax.experimental import checkify

import sigjax
from sigjax.losses import sigmoid_binary_cross_entropy as loss

INF = float("inf")
LOGITS = st.floats(-80, 80, width=32)
PROBABILITIES = st.floats(0, 1, width=32, allow_subnormal=False)


VALUE = jax.jit(loss)
GRADIENT = jax.jit(jax.grad(loss))
HESSIAN = jax.jit(jax.grad(jax.grad(loss)))
BY_LABEL = jax.jit(jax.grad(loss, 1))
WEIGHTED = jax.jit(lambda z, y, weight: loss(z, y, pos_weight=weight))
SMOOTHED = jax.jit(lambda z, y, s: loss(z, y, label_smoothing=s))
SQUARED = jax.jit(jax.value_and_grad(sigjax.losses.squared_error_on_sigmoid))


def exact(z, y):
    z, y = mp.mpf(z), mp.mpf(y)
    return y * mp.log1p(mp.exp(-z)) + (1 - y) * mp.log1p(mp.exp(z))


@hypothesis.given(LOGITS, PROBABILITIES)
def test_value_gradient_and_hessian_against_mpmath(z, y):
    with mp.workdps(50):
        p = 1 / (1 + mp.exp(-mp.mpf(z)))
        value, gradient, hessian = exact(z, y), p - mp.mpf(y), p * (1 - p)
    eps = 2.0**-23
    assert abs(float(VALUE(z, y)) - value) <= 3 * eps * value + 1e-37
    # For labels 0 and 1 relative to the gradient, else to what it is the difference of.
    scale = abs(gradient) if y in (0, 1) else min(max(p, mp.mpf(y)), max(1 - p, 1 - mp.mpf(y)))
    assert abs(float(GRADIENT(z, y)) - gradient) <= 3 * eps * scale + 1e-37
    assert abs(float(HESSIAN(z, y)) - hessian) <= 3 * eps * hessian + 1e-37
    by_label = float(BY_LABEL(z, y))
    assert abs(by_label + z) <= 3 * eps * max(abs(z), 1)


def test_hessian_is_that_of_the_other_label_where_optax_has_0():
    second = jax.grad(jax.grad(loss))
    assert second(-20.0, 1.0) == second(20.0, 0.0) == second(-20.0, 0.0)
    peer = jax.grad(jax.grad(optax.losses.sigmoid_binary_cross_entropy))
    assert peer(jnp.float32(-20), jnp.float32(1)) == 0.0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("z", [INF, -INF])
@pytest.mark.parametrize("y", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("in_scan", [False, True])
def test_infinite_logits(z, y, in_scan):
    """optax pull request #431; pytorch #135359, tensorflow #75256."""
    right = (z > 0) == (y == 1.0) and y != 0.25

    def value(z, y):
        if not in_scan:
            return loss(z, y)
        return jax.lax.scan(lambda c, _: (c, loss(*c)), (z, y), None, length=2)[1][0]

    arguments = jnp.float32(z), jnp.float32(y)
    assert value(*arguments) == (0 if right else INF)
    by_logit, by_label = jax.grad(value, (0, 1))(*arguments)
    assert by_logit == (1.0 if z > 0 else 0.0) - y
    assert np.isfinite(by_label)
    tangent = jax.jvp(lambda z: value(z, arguments[1]), arguments[:1], (jnp.float32(1),))[1]
    assert tangent == by_logit
    assert jax.grad(jax.grad(value))(*arguments) == 0


def test_optax_is_nan_at_infinite_logits():
    with jax.debug_nans(False):
        assert np.isnan(optax.losses.sigmoid_binary_cross_entropy(jnp.float32(INF), 1.0))


# Facts of optax's own test: logits, labels, mean loss.
@pytest.mark.parametrize(
    ("logits", "labels", "mean"),
    [
        ((-1e09, -1e-09), (1.0, 0.0), 5e08),
        ((-1e09, -1e-09), (0.0, 1.0), 0.3465736),
        ((1e09, 1e-09), (1.0, 0.0), 0.3465736),
        ((1e09, 1e-09), (0.0, 1.0), 5e08),
        ((-1e09, 1e-09), (1.0, 0.0), 5e08),
        ((1e09, -1e-09), (1.0, 0.0), 0.3465736),
        ((0.0, 0.0), (1.0, 0.0), 0.6931472),
    ],
)
def test_cases_of_optax(logits, labels, mean):
    found = jnp.mean(loss(np.array(logits), np.array(labels)))
    np.testing.assert_allclose(found, mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_the_logits_give_the_dtype_whatever_the_labels_are(dtype):
    z = jnp.array([-2.0, 3.0], dtype)
    expected = loss(z, jnp.array([1, 0], dtype))
    for labels in ([True, False], [1, 0], [1.0, 0.0]):
        for kind in (np.bool_, np.int32, np.float32, np.float64):
            found = loss(z, np.array(labels, kind))
            assert found.dtype == dtype
            chex.assert_trees_all_equal(found, expected)


def test_labels_may_be_python_numbers():
    """optax pull request #1261."""
    assert loss(jnp.float32(0), 1) == loss(jnp.float32(0), True) == loss(jnp.float32(0), 1.0)


@hypothesis.given(LOGITS, PROBABILITIES, st.floats(0.125, 8, width=32))
def test_positive_weight(z, y, weight):
    with mp.workdps(50):
        expected = weight * y * mp.log1p(mp.exp(-mp.mpf(z)))
        expected += (1 - mp.mpf(y)) * mp.log1p(mp.exp(mp.mpf(z)))
    assert float(WEIGHTED(z, y, weight)) == pytest.approx(float(expected), rel=1e-6)


def test_positive_weight_of_each_class():
    z, y = jnp.zeros((2, 3)), jnp.array([[1, 1, 1], [0, 0, 0]])
    found = loss(z, y, pos_weight=jnp.array([1.0, 2.0, 3.0])) / np.log(2)
    np.testing.assert_allclose(found, [[1, 2, 3], [1, 1, 1]], rtol=1e-6)


@hypothesis.given(LOGITS, PROBABILITIES, PROBABILITIES)
def test_label_smoothing_moves_labels_towards_one_half(z, y, s):
    """pytorch #91545."""
    smooth = (1 - np.float64(s)) * y + np.float64(s) / 2
    with mp.workdps(50):
        expected = float(exact(z, smooth))
    assert float(SMOOTHED(z, y, s)) == pytest.approx(expected, rel=2e-6, abs=1e-37)


def test_masked_entries_have_no_say_even_as_nan():
    """optax #902."""
    z = jnp.array([[1.0, jnp.nan, INF], [-2.0, 3.0, jnp.nan]])
    y = jnp.array([[1.0, jnp.nan, 0.0], [0.5, 2.0, jnp.nan]])
    kept = jnp.array([[True, False, False], [True, False, False]])
    found = loss(z, y, where=kept, axis=-1, check_labels=True)
    chex.assert_trees_all_equal(found, loss(z[:, 0], y[:, 0]))

    def total(z, y):
        return loss(z, y, where=kept).sum()

    for gradient in jax.jit(jax.grad(total, (0, 1)))(z, y):
        assert jnp.all(gradient[~kept] == 0)
        assert jnp.all(gradient[kept] != 0)


@pytest.mark.parametrize("axis", [0, -1, (0, 2), [1, 2]])
def test_axis_is_summed_over(axis):
    z = jax.random.normal(jax.random.key(0), (2, 3, 4))
    expected = jnp.sum(loss(z, z > 0), axis if isinstance(axis, int) else tuple(axis))
    np.testing.assert_allclose(loss(z, z > 0, axis=axis), expected, rtol=1e-6)


def test_a_sum_of_16_bit_losses_is_rounded_once():
    z = jnp.full((1000,), 0.1, jnp.bfloat16)
    assert loss(z, 1, axis=0) == (1000 * loss(z[0].astype(jnp.float32), 1)).astype(jnp.bfloat16)


@pytest.mark.parametrize("label", [2.0, -0.5, float("nan")])
def test_labels_outside_the_unit_interval(label):
    """pytorch #110865, #123339, #80208."""
    with pytest.raises(ValueError, match=r"'labels' must be in \[0, 1\]"):
        loss(0.0, label, check_labels=True)
    assert np.isfinite(loss(0.0, 2.0))  # as optax, unless asked
    checked = checkify.checkify(jax.jit(functools.partial(loss, check_labels=True)))
    error, _ = checked(jnp.float32(0), jnp.float32(label))
    with pytest.raises(checkify.JaxRuntimeError, match=r"'labels' must be in \[0, 1\]"):
        error.throw()
    error, value = checked(jnp.float32(0), jnp.float32(0.5))
    error.throw()
    assert value == loss(0.0, 0.5)


def test_a_derivative_keeps_the_label_check():
    checked = checkify.checkify(jax.jit(jax.grad(functools.partial(loss, check_labels=True))))
    assert "labels" in str(checked(0.0, 3.0)[0].get())


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((1j, 1), {}, TypeError, "'logits' must be real"),
        ((np.zeros(2), np.zeros(3)), {}, ValueError, r"broadcast.*logits \(2,\), labels \(3,\)"),
        ((0.0, 1), {"where": 1.0}, TypeError, "'where' must be boolean"),
        ((0.0, 1), {"pos_weight": -1.0}, ValueError, "'pos_weight' must be in"),
        ((0.0, 1), {"label_smoothing": 1.5}, ValueError, r"'label_smoothing' must be in \[0, 1\]"),
    ],
)
def test_refusals(arguments, options, error, message):
    with pytest.raises(error, match=message):
        loss(*arguments, **options)


def test_a_neuron_that_is_wrong_and_sure_learns_from_cross_entropy_alone():
    z = sigjax.logit(np.float32(0.99))
    assert jax.grad(loss)(z, 0.0) == pytest.approx(0.99, rel=1e-6)
    squared = jax.grad(sigjax.losses.squared_error_on_sigmoid)
    assert squared(z, 0.0) == pytest.approx(2 * 0.99 * 0.99 * 0.01, rel=1e-5)


@hypothesis.given(LOGITS, PROBABILITIES)
def test_squared_error_against_mpmath(z, y):
    with mp.workdps(50):
        p = 1 / (1 + mp.exp(-mp.mpf(z)))
        value, gradient = (p - mp.mpf(y)) ** 2, 2 * (p - mp.mpf(y)) * p * (1 - p)
    relative = 1e-6 if y in (0, 1) else 1e-6 / max(abs(float(p) - y), 1e-7)
    found, slope = SQUARED(z, y)
    assert float(found) == pytest.approx(float(value), rel=2 * relative, abs=1e-37)
    assert float(slope) == pytest.approx(float(gradient), rel=2 * relative, abs=1e-37)
