"""The focal loss: against mpmath, at its limits, and in optax's place."""

import hypothesis
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from sigjax.losses import sigmoid_binary_cross_entropy, sigmoid_focal_loss

EXTREMES = [-np.inf, -3e38, -1e4, -200.0, -90.0, -3.0, 0.0, 3.0, 90.0, 200.0, 1e4, 3e38, np.inf]
EPS = 2.0**-23


FOCAL = jax.jit(
    jax.value_and_grad(lambda z, y, gamma: sigmoid_focal_loss(z, y, gamma=gamma), (0, 1))
)


def exact(z, y, gamma):
    q = y / (1 + mp.exp(z)) + (1 - y) / (1 + mp.exp(-z))
    return q**gamma * (y * mp.log1p(mp.exp(-z)) + (1 - y) * mp.log1p(mp.exp(z)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@hypothesis.given(st.floats(-60, 60, width=32), st.sampled_from([0.0, 0.25, 1.0]))
@hypothesis.settings(max_examples=25)
def test_value_and_gradients_against_mpmath(gamma, z, y):
    with mp.workdps(40):
        point = mp.mpf(z), mp.mpf(y)
        value = exact(*point, gamma)
        by_logit = mp.diff(lambda z: exact(z, point[1], gamma), point[0])
        by_label = mp.diff(lambda y: exact(point[0], y, gamma), point[1])

    loss, found = FOCAL(np.float32(z), np.float32(y), gamma)
    assert float(loss) == pytest.approx(float(value), rel=6 * EPS, abs=1e-37)
    # The gradient by a soft label, and by its logit, is a difference.
    size = max(abs(value), abs(by_logit)) if 0 < y < 1 else abs(by_logit)
    assert abs(float(found[0]) - by_logit) <= 8 * EPS * size + 1e-37
    if y != 0 or gamma != 0.5 or z > -30:  # mpmath's finite difference needs room at the border
        assert float(found[1]) == pytest.approx(float(by_label), rel=1e-3, abs=1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("label", [0.0, 1e-30, 0.3, 1.0])
def test_finite_gradients_everywhere(gamma, label):
    """optax #1267."""

    def loss(z, y, gamma):
        return sigmoid_focal_loss(z, y, 0.25, gamma)

    z = jnp.array(EXTREMES, jnp.float32)
    gradients = jax.vmap(jax.grad(loss, (0, 1)), (0, None, None))(z, label, gamma)
    assert all(jnp.all(jnp.isfinite(gradient)) for gradient in gradients)
    assert jnp.all(
        jnp.isfinite(jax.vmap(jax.grad(jax.grad(loss)), (0, None, None))(z, label, gamma))
    )
    values = loss(z, label, gamma)
    wrong = jnp.isinf(z) & ((z > 0) == (label < 1)) | jnp.isinf(z) & (0 < label < 1)
    assert jnp.all(jnp.isinf(values) == wrong)


def test_optax_is_nan_at_infinite_logits():
    peer = optax.losses.sigmoid_focal_loss
    assert np.isnan(peer(jnp.float32(np.inf), jnp.float32(1)))
    assert sigmoid_focal_loss(jnp.float32(np.inf), 1) == 0


def test_no_zero_where_the_truth_is_normal():
    """At z = 120 the probability of a miss is below the smallest number, its root is not."""
    by_label = jax.grad(sigmoid_focal_loss, 1)(120.0, 1.0, None, 0.5)
    with mp.workdps(40):
        q = 1 / (1 + mp.exp(mp.mpf(120)))
        truth = -mp.sqrt(q) * (mp.mpf(120) + mp.mpf("0.5") * mp.log1p(mp.exp(mp.mpf(-120))) / q)
    assert float(by_label) == pytest.approx(float(truth), rel=1e-5)


def test_focus_0_is_the_cross_entropy():
    z = jnp.linspace(-20, 20, 101)
    np.testing.assert_allclose(
        sigmoid_focal_loss(z, 0.3, gamma=0.0), sigmoid_binary_cross_entropy(z, 0.3), rtol=1e-6
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_agrees_with_optax_where_optax_is_right(gamma):
    z, y = jax.random.normal(jax.random.key(0), (2, 1000))
    y = 1 / (1 + jnp.exp(-y))
    peer = optax.losses.sigmoid_focal_loss(z, y, alpha=0.25, gamma=gamma)
    np.testing.assert_allclose(sigmoid_focal_loss(z, y, 0.25, gamma), peer, rtol=2e-5)


def test_balance_of_classes():
    """Equation 3 of the paper: alpha for positives, 1 - alpha for negatives."""
    plain = sigmoid_focal_loss(jnp.zeros(2), jnp.array([1.0, 0.0]))
    balanced = sigmoid_focal_loss(jnp.zeros(2), jnp.array([1.0, 0.0]), alpha=0.25)
    np.testing.assert_allclose(balanced / plain, [0.25, 0.75], rtol=1e-6)


def test_gradient_by_the_focus():
    def loss(gamma):
        return sigmoid_focal_loss(1.0, 1.0, gamma=gamma)

    with mp.workdps(30):
        truth = mp.diff(lambda g: exact(mp.mpf(1), mp.mpf(1), g), mp.mpf(2))
    assert float(jax.grad(loss)(2.0)) == pytest.approx(float(truth), rel=1e-5)
    assert np.isfinite(jax.grad(lambda g: sigmoid_focal_loss(np.inf, 1.0, gamma=g))(2.0))


def test_mask_and_sum():
    z = jnp.array([1.0, jnp.nan, -1.0])
    kept = jnp.array([True, False, True])
    total = sigmoid_focal_loss(z, 1, where=kept, axis=0)
    assert total == pytest.approx(float(sigmoid_focal_loss(z[::2], 1).sum()), rel=1e-6)
    gradient = jax.grad(lambda z: sigmoid_focal_loss(z, 1, where=kept, axis=0))(z)
    assert gradient[1] == 0
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"'alpha' must be in \[0, 1\]"),
        ({"gamma": -1.0}, "'gamma' must be in"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        sigmoid_focal_loss(0.0, 1.0, **options)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_second_derivative_by_the_label_where_a_miss_is_impossible(gamma):
    """Next to q = 0 it is that of q^gamma (1 - y) z: q is 0 in float32, its power need not be."""
    second = jax.vmap(jax.grad(jax.grad(sigmoid_focal_loss, 1), 1), in_axes=(0, None, None, None))(
        jnp.array([60.0, 75.0, 200.0]), 1.0, None, gamma
    )
    with mp.workdps(60):
        for z, found in zip((60, 75, 200), second, strict=True):
            q, entropy = 1 / (1 + mp.exp(z)), mp.log1p(mp.exp(-z))
            slope = 1 - 2 / (1 + mp.exp(-z))  # of q by the label
            truth = gamma * slope * q ** (gamma - 2)
            truth *= (gamma - 1) * slope * entropy - 2 * q * z
            assert float(found) == pytest.approx(float(truth), rel=1e-4, abs=1e-37)
