"""Log-probabilities of answers against NumPy's float64: values, digits, masks and refusals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from sigjax.losses import preference_loss, sequence_log_prob

EPS = 2.0**-23
RNG = np.random.default_rng(0)
Z = RNG.normal(scale=3, size=(4, 6, 9)).astype(np.float32)
Y = RNG.integers(0, 9, size=(4, 6)).astype(np.int32)
KEPT = np.arange(6) < np.array([[6], [4], [1], [0]])


def terms(z, y):
    """Each token's log-probability and its derivative by the logits, without cancellation."""
    ahead = np.float64(z) - np.take_along_axis(np.float64(z), y[..., None], -1)
    np.put_along_axis(ahead, y[..., None], -np.inf, -1)
    others = np.logaddexp.reduce(ahead, axis=-1)  # log of the odds against the label
    log_prob = -np.logaddexp(0, others)
    slopes = -np.exp(ahead + log_prob[..., None])
    np.put_along_axis(slopes, y[..., None], np.exp(others + log_prob)[..., None], -1)
    # logaddexp(0, x) is log1p(e^x), to all digits, where x is very negative.
    return log_prob, slopes


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("normalize", [True, False])
def test_value_and_gradient_are_those_of_the_definition(dtype, normalize):
    z = jnp.asarray(Z, dtype)

    def score(z):
        found = sequence_log_prob(z, Y, where=KEPT, normalize=normalize)
        return jnp.sum(found * jnp.arange(1.0, 5.0)), found

    (_, found), gradient = jax.value_and_grad(score, has_aux=True)(z)
    log_prob, slopes = terms(z, Y)
    count = np.maximum(KEPT.sum(-1), 1) if normalize else 1
    expected = np.where(KEPT, log_prob, 0).sum(-1) / count
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=8 * EPS)
    weights = np.arange(1.0, 5.0) / count
    slopes = np.where(KEPT[..., None], slopes, 0) * weights[:, None, None]
    assert gradient.dtype == dtype
    rounding = max(float(jnp.finfo(dtype).eps), 16 * EPS)
    smallest = float(jnp.finfo(dtype).smallest_subnormal)
    np.testing.assert_allclose(np.float64(gradient), slopes, rtol=rounding, atol=smallest)


def test_without_a_mask_every_token_counts():
    log_prob, _ = terms(Z, Y)
    np.testing.assert_allclose(sequence_log_prob(Z, Y), log_prob.mean(-1), rtol=8 * EPS)
    summed = sequence_log_prob(Z, Y, normalize=False)
    np.testing.assert_allclose(summed, log_prob.sum(-1), rtol=8 * EPS)


def test_digits_are_kept_as_the_probability_reaches_1():
    """There log(sum) is 0 in float32 from 17 on, and 1 - p no number at all."""
    ahead = np.float32([1, 10, 17, 30, 60, 80])
    z = np.stack([ahead, 0 * ahead, -ahead], axis=-1)[:, None]
    y = np.zeros((6, 1), np.int32)
    found, slope = jax.vmap(jax.value_and_grad(lambda z, y: sequence_log_prob(z, y)))(z, y)
    log_prob, slopes = terms(z, y)
    np.testing.assert_allclose(found, log_prob[:, 0], rtol=4 * EPS)
    np.testing.assert_allclose(slope, slopes, rtol=8 * EPS, atol=1e-37)


def test_impossible_tokens_and_labels_that_are_none():
    z = np.where(np.arange(9) % 2 == 0, Z, -np.inf)
    y = np.int32([[0, 2, 4, 6, 8, 0], [0, 1, 2, 2, 2, 2], [0, 0, 9, 0, 0, 0], [0, 0, 0, -1, 0, 0]])
    every = sequence_log_prob(z, y, normalize=False)
    value, slope = jax.value_and_grad(lambda z: sequence_log_prob(z, y, normalize=False)[0])(z)
    log_prob, slopes = terms(z[:1, :, ::2], y[:1] // 2)
    assert value == every[0] == pytest.approx(log_prob.sum(), rel=8 * EPS)
    np.testing.assert_allclose(slope[:1, :, ::2], slopes, rtol=1e-5)
    np.testing.assert_array_equal(slope[:, :, 1::2], 0)
    assert every[1] == -math.inf
    assert np.all(np.isnan(every[2:]))


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_what_is_masked_may_be_anything(dtype):
    z, y = Z.copy(), Y.astype(dtype)
    z[~KEPT] = np.nan
    y[~KEPT] = 100
    value, gradient = jax.value_and_grad(lambda z: jnp.sum(sequence_log_prob(z, y, where=KEPT)))(z)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient[~KEPT], 0)
    assert sequence_log_prob(z, y, where=KEPT)[3] == 0


def test_labels_of_few_bits_name_tokens_of_a_large_vocabulary():
    z = np.linspace(-1, 1, 300, dtype=np.float32)[None]
    expected, _ = terms(z, np.array([100]))
    found = sequence_log_prob(z, np.array([100], np.int8))
    np.testing.assert_allclose(found, expected[0], rtol=4 * EPS)


def test_second_derivatives_are_those_of_a_logarithm_of_a_sum():
    z, y = jnp.asarray(Z[0, :1]), Y[0, :1]
    hessian = jax.hessian(lambda z: sequence_log_prob(z, y))(z)[0, :, 0]
    p = np.exp(np.float64(Z[0, 0]) - np.logaddexp.reduce(np.float64(Z[0, 0])))
    np.testing.assert_allclose(hessian, np.outer(p, p) - np.diag(p), rtol=1e-5, atol=1e-7)


def test_the_gradient_of_simpo_is_its_closed_form():
    z, y, beta, margin = Z[:2], Y[:2], 2.5, 0.5

    def loss(z):
        score = sequence_log_prob(z, y)
        return preference_loss(score[0], score[1], beta=beta, margin=margin)

    log_prob, slopes = terms(z, y)
    x = beta * (log_prob[0].mean() - log_prob[1].mean()) - margin
    weight = -beta / (1 + np.exp(x)) / 6
    expected = weight * slopes * np.array([1, -1]).reshape(2, 1, 1)
    np.testing.assert_allclose(jax.grad(loss)(z), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "place",
    [
        P("data", None, "model"),
        pytest.param(P("data"), marks=pytest.mark.proof),
        pytest.param(P(None, None, "model"), marks=pytest.mark.proof),
    ],
)
def test_the_vocabulary_may_be_divided_over_devices(place):
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)

    def value_and_slope(z, y, kept):
        def total(z):
            found = sequence_log_prob(z, y, where=kept)
            return jnp.sum(found**2), found

        (_, found), slope = jax.value_and_grad(total, has_aux=True)(z)
        return found, slope

    z = np.concatenate([Z, Z[..., :3]], axis=-1)  # a vocabulary that can be divided
    expected = value_and_slope(z, Y, KEPT)
    rows = P(*place[:1])
    with jax.set_mesh(mesh):
        arguments = (
            jax.device_put(x, NamedSharding(mesh, spec))
            for x, spec in ((z, place), (Y, rows), (KEPT, rows))
        )
        found = jax.jit(value_and_slope)(*arguments)
    assert found[1].sharding.is_equivalent_to(NamedSharding(mesh, place), 3)
    for ours, alone in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": Y.astype(np.float32)}, TypeError, "'labels' must be an array of integers"),
        ({"labels": Y[0]}, ValueError, "'labels' must have the shape of the logits"),
        ({"where": Y}, TypeError, "'where' must be an array of boolean"),
        ({"where": KEPT[:1]}, ValueError, "'where' must have the shape of the logits"),
        ({"logits": Z[0, 0], "labels": Y[0, 0]}, ValueError, "'logits' must have shape"),
        ({"logits": Z + 1j}, TypeError, "'logits' must be real"),
    ],
)
def test_refusals(change, error, message):
    with pytest.raises(error, match=message):
        sequence_log_prob(**{"logits": Z, "labels": Y, **change})
