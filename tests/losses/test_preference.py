"""The two preference losses: their definitions in NumPy, limits, dtypes, masks and refusals."""

import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from sigjax.losses import odds_ratio_preference_loss, preference_loss

INF = math.inf
EPS = 2.0**-23
DTYPES = ["float16", "bfloat16", "float32"]


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return np.exp(-softplus(-x))


def preference(c, r, beta, margin, s):
    """The loss, its gradients by all arguments, and the larger of two terms in each, float64."""
    x = beta * (c - r) - margin
    right, wrong = (1 - s) * sigmoid(-x), s * sigmoid(x)
    loss = (1 - s) * softplus(-x) + s * softplus(x)
    weights = beta, -beta, c - r, -1
    gradients = *(weight * (wrong - right) for weight in weights), x
    larger = np.maximum(right, wrong)
    terms = *(abs(weight) * larger for weight in weights), np.maximum(abs(beta * (c - r)), margin)
    return loss, gradients, terms


def odds_ratio(c, r, beta):
    """The loss, its gradients by all arguments, and 0 for terms that never cancel, float64."""
    log_odds = c - np.log(-np.expm1(c)) - (r - np.log(-np.expm1(r)))
    slope = -beta * sigmoid(-log_odds)
    gradients = slope / -np.expm1(c), -slope / -np.expm1(r), softplus(-log_odds)
    return beta * softplus(-log_odds), gradients, (0, 0, 0)


def draws(*intervals, count=400):
    """float32 numbers, spread evenly."""
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, count).astype(np.float32) for low, high in intervals]


def with_all_parameters(c, r, beta, margin, s):
    return preference_loss(c, r, beta=beta, margin=margin, label_smoothing=s)


def with_weight(c, r, beta):
    return odds_ratio_preference_loss(c, r, beta=beta)


CASES = {
    "preference": (
        with_all_parameters,
        preference,
        draws((-400, 0), (-400, 0), (0, 2), (-1, 1), (0, 1)),
    ),
    "preference, near ties": (
        with_all_parameters,
        preference,
        draws((-1, 1), (-1, 1), (0, 2), (-1, 1), (0, 0.5)),
    ),
    "odds ratio": (with_weight, odds_ratio, draws((-5, -0.01), (-5, -0.01), (0, 2))),
    "odds ratio, unlikely answers": (with_weight, odds_ratio, draws((-90, 0), (-90, 0), (0, 2))),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients_are_those_of_the_definition(name):
    loss, definition, arguments = CASES[name]
    positions = tuple(range(len(arguments)))
    found = jax.jit(jax.vmap(jax.value_and_grad(loss, positions)))(*arguments)
    value, *expected = definition(*map(np.float64, arguments))
    np.testing.assert_allclose(np.float64(found[0]), value, rtol=4 * EPS, atol=1e-37)
    for position, (ours, theirs, term) in enumerate(zip(found[1], *expected, strict=True)):
        allowed = EPS * (8 * np.abs(theirs) + term) + 1e-37
        assert np.all(np.abs(np.float64(ours) - theirs) <= allowed), position


@pytest.mark.parametrize("dtype", DTYPES)
def test_preference_at_infinite_scores(dtype):
    def both(c, r, s):
        # In the dtype of the scores, whatever that of the share is.
        c, r = (jnp.asarray(x, dtype) for x in (c, r))
        return jax.value_and_grad(
            lambda c, r: preference_loss(c, r, beta=2.0, label_smoothing=s), (0, 1)
        )(c, r)

    expected = [  # chosen, rejected, share of wrong labels: loss, gradient by chosen
        (INF, 0.0, 0.0, 0.0, 0.0),
        (0.0, -INF, 0.0, 0.0, 0.0),
        (-INF, 0.0, 0.0, INF, -2.0),
        (0.0, INF, 0.0, INF, -2.0),
        (INF, -INF, 0.0, 0.0, 0.0),
        (-INF, INF, 0.0, INF, -2.0),
        (INF, INF, 0.0, math.log(2), -1.0),  # a tie
        (-INF, -INF, 0.0, math.log(2), -1.0),
        (INF, 0.0, 0.25, INF, 0.5),
        (-INF, 0.0, 0.25, INF, -1.5),
        (-INF, -INF, 0.25, math.log(2), -0.5),
    ]
    c, r, s, loss, slope = (np.array(column) for column in zip(*expected, strict=True))
    value, (by_chosen, by_rejected) = jax.vmap(both)(c, r, s)
    assert value.dtype == by_chosen.dtype == dtype
    of_dtype = jnp.asarray(loss, dtype)
    np.testing.assert_array_equal(np.float64(value), np.float64(of_dtype))
    np.testing.assert_array_equal(np.float64(by_chosen), slope)
    np.testing.assert_array_equal(np.float64(by_rejected), -slope)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("dtype", DTYPES)
def test_odds_ratio_at_log_probability_0(dtype):
    """The odds are infinite there, the loss and its gradients the limits of the closed form."""
    c = jnp.array([0.0, 0.0, 0.0, -1.0, 0.0, -INF, -1.0, -INF], dtype)
    r = jnp.array([-1.0, -4.0, -INF, 0.0, 0.0, -1.0, -INF, -INF], dtype)
    value, gradients = jax.vmap(jax.value_and_grad(odds_ratio_preference_loss, (0, 1)))(c, r)
    loss = [0.0, 0.0, 0.0, INF, math.log(2), INF, 0.0, math.log(2)]
    rounded = jnp.asarray(loss, dtype)
    assert value.dtype == dtype
    np.testing.assert_array_equal(np.float64(value), np.float64(rounded))
    for gradient in gradients:
        assert gradient.dtype == dtype
        assert jnp.all(jnp.isfinite(gradient))
    eps = float(jnp.finfo(dtype).eps)
    by_chosen = [-1 / math.expm1(1), -1 / math.expm1(4), 0.0]
    np.testing.assert_allclose(np.float64(gradients[0][:3]), by_chosen, rtol=eps)
    assert jnp.isnan(odds_ratio_preference_loss(jnp.asarray(0.5, dtype), jnp.asarray(-1, dtype)))


ROUNDED = {
    "preference": (preference_loss, preference, {"beta": 0.3, "margin": 0.1}, (0.0,)),
    "odds ratio": (odds_ratio_preference_loss, odds_ratio, {"beta": 0.3}, ()),
}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ROUNDED)
def test_16_bit_is_rounded_once(name, dtype):
    loss, definition, parameters, rest = ROUNDED[name]
    c, r = (jnp.asarray(x, dtype) for x in draws((-9, -0.01), (-9, -0.01)))
    as_computed = (np.float64(np.float32(each)) for each in parameters.values())
    exact, *_ = definition(np.float64(c), np.float64(r), *as_computed, *rest)
    found = loss(c, r, **parameters)
    assert found.dtype == dtype
    spacing = np.exp2(np.floor(np.log2(exact))) * float(jnp.finfo(dtype).eps)
    spacing = np.maximum(spacing, float(jnp.finfo(dtype).smallest_subnormal))
    assert np.max(np.abs(np.float64(found) - exact) / spacing) <= 0.51


def test_scores_of_long_answers_keep_the_digits_of_their_difference():
    """The rounding error of the difference, 2e-5, is a relative error of a loss far on the right
    side if it is not put back."""
    c, r = np.float32(-300.0001), np.float32(-1234.5678)
    assert np.float64(np.float32(c - r)) != np.float64(c) - np.float64(r)
    beta = np.float32(0.08)
    truth = np.exp(-np.float64(beta) * (np.float64(c) - np.float64(r)))
    assert float(preference_loss(c, r, beta=beta)) == pytest.approx(truth, rel=2 * EPS)


def test_smoothing_is_the_share_of_pairs_labelled_the_wrong_way():
    c, r = (jnp.asarray(x) for x in draws((-3, 3), (-3, 3), count=20))
    right, wrong = preference_loss(c, r), preference_loss(r, c)
    smoothed = preference_loss(c, r, label_smoothing=0.2)
    np.testing.assert_allclose(smoothed, 0.8 * right + 0.2 * wrong, rtol=1e-6)
    np.testing.assert_array_equal(preference_loss(c, r, label_smoothing=1.0), wrong)


def test_a_margin_shifts_the_difference_and_parameters_broadcast():
    c, r = (jnp.asarray(x).reshape(4, 5) for x in draws((-3, 3), (-3, 3), count=20))
    shifted = preference_loss(c, r, margin=0.5)
    np.testing.assert_allclose(shifted, preference_loss(c - 0.5, r), rtol=1e-6)
    by_column = preference_loss(c, r, beta=jnp.arange(1.0, 6.0))
    np.testing.assert_array_equal(by_column[:, 2], preference_loss(c[:, 2], r[:, 2], beta=3.0))
    weighted = odds_ratio_preference_loss(-c * c, -r * r, beta=jnp.arange(1.0, 6.0))
    np.testing.assert_allclose(
        weighted[:, 3], 4 * odds_ratio_preference_loss(-c * c, -r * r)[:, 3], rtol=1e-6
    )


@pytest.mark.parametrize("loss", [preference_loss, odds_ratio_preference_loss])
def test_masked_pairs_count_0_and_get_gradient_0(loss):
    c, r = jnp.array([-1.0, jnp.nan, -2.0, 0.0]), jnp.array([-2.0, -1.0, jnp.inf, 0.0])
    kept = jnp.array([True, False, False, False])

    def total(c, r, beta):
        return loss(c, r, beta=beta, where=kept, axis=0)

    value, gradients = jax.value_and_grad(total, (0, 1, 2))(c, r, 2.0)
    alone, expected = jax.value_and_grad(lambda c, r, b: loss(c, r, beta=b), (0, 1, 2))(
        c[0], r[0], 2.0
    )
    assert value == alone
    for gradient, one in zip(gradients[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(gradient, [one, 0, 0, 0])
    assert gradients[2] == expected[2]
    np.testing.assert_array_equal(loss(c, r, where=kept)[1:], 0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("loss", [preference_loss, odds_ratio_preference_loss])
def test_forward_over_reverse_is_reverse_over_reverse(loss):
    point = jnp.array([-0.7, -1.9])

    def of_pair(pair):
        return loss(pair[0], pair[1], beta=0.5)

    hessian = jax.hessian(of_pair)(point)
    again = jax.jacrev(jax.grad(of_pair))(point)
    np.testing.assert_allclose(hessian, again, rtol=1e-6)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-6)


@pytest.mark.parametrize("loss", [preference_loss, odds_ratio_preference_loss])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"beta": -1.0}, ValueError, r"'beta' must be in \[0, 3.40282e\+38\], got -1"),
        ({"beta": 1j}, TypeError, "'beta' must be real"),
        ({"beta": jnp.ones(3)}, ValueError, "broadcast"),
        ({"where": jnp.ones(2)}, TypeError, "'where' must be boolean"),
        ({0: jnp.zeros(2, complex)}, TypeError, "must be real"),
        ({1: jnp.zeros(3)}, ValueError, "broadcast"),
    ],
)
def test_refusals(loss, change, error, message):
    positional = [change.get(i, -jnp.ones(2)) for i in range(2)]
    with pytest.raises(error, match=message):
        loss(*positional, **{k: v for k, v in change.items() if isinstance(k, str)})


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"'label_smoothing' must be in \[0, 1\]"):
        preference_loss(0.0, 0.0, label_smoothing=share)


def odds_ratio_derivatives(c, r, beta):
    """All first and second derivatives by both log-probabilities, in mpmath."""
    p, q = mp.exp(c), mp.exp(r)
    by_c, by_r = -1 / (1 - p), 1 / (1 - q)
    ratio = q / p * (1 - p) / (1 - q)
    slope, bend = ratio / (1 + ratio), ratio / (1 + ratio) ** 2
    hessian = (
        (bend * by_c**2 - slope * p / (1 - p) ** 2, bend * by_c * by_r),
        (bend * by_c * by_r, bend * by_r**2 + slope * q / (1 - q) ** 2),
    )
    return (beta * slope * by_c, beta * slope * by_r), tuple(
        tuple(beta * entry for entry in row) for row in hessian
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (-1e-25, -59.4, 4.2e14),  # beta is as large as the odds are small
        (-3e-31, -86.0, 5e32),
        (-3.4e-37, -0.0056, 3e36),
        (-80.0, -1e-30, 1e-20),
        (-1e-20, -1e-25, 1e-15),
    ],
)
def test_derivatives_of_the_odds_ratio_that_are_normal_numbers_are_found(arguments):
    found = jax.tree.leaves(
        (
            jax.grad(with_weight, (0, 1))(*map(np.float32, arguments)),
            jax.hessian(with_weight, (0, 1))(*map(np.float32, arguments)),
        )
    )
    with mp.workdps(200):
        exact = jax.tree.leaves(
            odds_ratio_derivatives(*(mp.mpf(float(np.float32(x))) for x in arguments))
        )
        for ours, truth in zip(found, exact, strict=True):
            if abs(truth) < np.finfo(np.float32).tiny:
                continue
            if abs(truth) > np.finfo(np.float32).max:
                assert abs(ours) == np.finfo(np.float32).max
            else:
                assert abs(mp.mpf(float(ours)) / truth - 1) <= 6 * EPS
