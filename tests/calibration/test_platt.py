"""Platt's fit against libsvm's numbers, scikit-learn's fits, and mpmath's optimum."""

import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.calibration import _sigmoid_calibration

from sigjax.calibration import fit_platt

# scikit-learn's test of its sigmoid calibration: libsvm's output.
LIBSVM = (-0.20261354391187855, 0.65236314980010512)


def problem(seed, n=None):
    """Scores on any scale, and labels that they tell something about; each size is a program."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([5, 30, 300])) if n is None else n
    standard = rng.normal(size=n)
    slope = 2 * rng.normal()
    labels = rng.uniform(size=n) < 1 / (1 + np.exp(-slope * standard - rng.normal()))
    return standard * 10 ** rng.uniform(-2, 2) + rng.normal(), labels


def test_equals_libsvm():
    with jax.enable_x64(True):
        platt = fit_platt([5.0, -4.0, 1.0], [1, -1, -1])
        np.testing.assert_allclose((platt.a, platt.b), LIBSVM, rtol=1e-14)
        assert int(platt.updates) == 3
    single = fit_platt([5.0, -4.0, 1.0], [1, -1, -1])
    np.testing.assert_allclose((single.a, single.b), LIBSVM, rtol=2e-6)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("first", range(0, 200, 25))
def test_equals_scikit_learn(first):
    with jax.enable_x64(True):
        for seed in range(first, first + 25):
            scores, labels = problem(seed)
            platt = fit_platt(scores, labels, tolerance=1e-9)
            a, b = _sigmoid_calibration(scores, labels)
            # scikit-learn stops at a gradient of 1e-6 of the mean loss.
            spread = scores.std()
            assert bool(platt.converged)
            assert abs(float(platt.a) - a) * spread < 5e-5, seed
            assert abs(float(platt.b) - b) < 5e-5 * (1 + abs(scores.mean() / spread)), seed


def test_is_the_optimum_of_smoothed_cross_entropy():
    scores, labels = problem(3, 30)
    positive = int(labels.sum())
    high, low = mpmath.mpf(positive + 1) / (positive + 2), mpmath.mpf(1) / (30 - positive + 2)

    def gradient(a, b):
        parts = [
            ((high if label else low) - 1 / (1 + mpmath.exp(a * score + b)), mpmath.mpf(score))
            for score, label in zip(scores.tolist(), labels.tolist(), strict=True)
        ]
        return mpmath.fsum(r * f for r, f in parts), mpmath.fsum(r for r, _ in parts)

    with jax.enable_x64(True):
        platt = fit_platt(scores, labels, tolerance=1e-12)
    a, b = mpmath.findroot(gradient, (float(platt.a), float(platt.b)))
    np.testing.assert_allclose((platt.a, platt.b), (float(a), float(b)), rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3, 1e6])
def test_the_size_of_scores_does_not_matter(scale):
    scores, labels = problem(5, 300)
    scores = scores.astype(np.float32)
    plain, scaled = fit_platt(scores, labels), fit_platt(scores * np.float32(scale), labels)
    np.testing.assert_allclose(scaled.a * scale, plain.a, rtol=1e-4)
    np.testing.assert_allclose(scaled.b, plain.b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "exponents"), [("float32", (-19, 19, 34)), ("float64", (-160, 154))]
)
def test_any_scale_gives_the_same_fit(dtype, exponents):
    scores, labels = problem(5, 300)
    with jax.enable_x64(dtype == "float64"):
        plain = fit_platt(scores.astype(dtype), labels)
        for exponent in exponents:
            factor = 10.0**exponent
            scaled = fit_platt((scores * factor).astype(dtype), labels)
            assert bool(scaled.converged)
            np.testing.assert_allclose(np.float64(scaled.a) * factor, plain.a, rtol=1e-6)
            np.testing.assert_allclose(scaled.b, plain.b, rtol=1e-6)


@pytest.mark.parametrize("side", [1, -1])
def test_one_score_beyond_all_others(side):
    """To it the others are one: two points, both of which a sigmoid meets."""
    scores, labels = problem(5, 299)
    labels = np.append(labels, side > 0)
    positive, negative = labels.sum(), (~labels).sum()
    high, low = (positive + 1) / (positive + 2), 1 / (negative + 2)
    mean = np.where(labels, high, low)[:-1].mean()
    b = np.log(1 / mean - 1)
    a = (np.log(1 / (high if side > 0 else low) - 1) - b) / 1e25
    platt = fit_platt(np.append(scores, 1e25).astype(np.float32), labels)
    assert bool(platt.converged)
    np.testing.assert_allclose((platt.a, platt.b), (a, b), rtol=1e-5)
    # Without targets inside (0, 1) it says nothing of the others, who are lost beside it.
    hard = fit_platt(np.append(scores, 1e25).astype(np.float32), labels, smooth=False)
    assert not bool(hard.converged)


def test_converged_only_where_the_gradient_is_small():
    scores, labels = problem(5, 300)
    scores = scores.astype(np.float32)
    assert not bool(fit_platt(scores, labels, max_updates=1).converged)
    # Weights whose gradient is small from the start.
    plain = fit_platt(scores, labels, smooth=False)
    light = fit_platt(scores, labels, smooth=False, weights=np.full(300, 1e-12, np.float32))
    assert bool(light.converged)
    np.testing.assert_allclose((light.a, light.b), (plain.a, plain.b), rtol=1e-4)


def test_scores_without_weight_say_nothing():
    with_it = fit_platt([1.0, 2.0, 4.0, 1e38], [0, 1, 1, 0], weights=[1, 1, 1, 0])
    without = fit_platt([1.0, 2.0, 4.0], [0, 1, 1])
    np.testing.assert_allclose((with_it.a, with_it.b), (without.a, without.b), rtol=1e-6)


def test_far_outliers_are_survived():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=298), [1e6, -1e6]]).astype(np.float32)
    platt = fit_platt(scores, scores > 0)
    assert bool(platt.converged)
    chex.assert_tree_all_finite((platt.a, platt.b))
    probability = np.asarray(platt(scores))
    assert probability[-2] > 0.98
    assert probability[-1] < 0.02


def test_one_class_gives_its_smoothed_frequency():
    np.testing.assert_allclose(fit_platt([1.0, 2.0, 4.0], [0, 0, 0])(9.0), 1 / 5, rtol=1e-6)
    np.testing.assert_allclose(fit_platt([1.0, 2.0, 4.0], [1, 1, 1])(9.0), 4 / 5, rtol=1e-6)


def test_equal_scores_give_no_slope():
    for score in (2.0, 0.1, -3e30):
        platt = fit_platt([score] * 3, [1, 0, 1])
        assert float(platt.a) == 0
        assert bool(platt.converged)
        # mean target: (2 * 3/4 + 1/3) / 3
        np.testing.assert_allclose(platt(score), (1.5 + 1 / 3) / 3, rtol=1e-5)


def test_separable_classes_have_a_finite_slope():
    scores = np.array([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], np.float32)
    smoothed = fit_platt(scores, scores > 0)
    # far from 0 the sigmoid meets the targets 4/5 and 1/5
    assert -2 < float(smoothed.a) < -0.1
    assert bool(smoothed.converged)
    hard = fit_platt(scores, scores > 0, smooth=False)
    assert float(hard.a) < 3 * float(smoothed.a)
    assert np.isfinite(float(hard.a))


def test_weights_are_repetitions():
    with jax.enable_x64(True):
        scores, labels = problem(7, 40)
        weights = np.random.default_rng(1).integers(0, 4, 40)
        weighted = fit_platt(scores, labels, weights=weights, tolerance=1e-10)
        repeated = fit_platt(scores.repeat(weights), labels.repeat(weights), tolerance=1e-10)
        np.testing.assert_allclose((weighted.a, weighted.b), (repeated.a, repeated.b), rtol=1e-9)


def test_a_batch_is_its_fits():
    pairs = [problem(seed, 60) for seed in range(30)]
    scores = jnp.asarray(np.stack([p[0] for p in pairs]), jnp.float32)
    labels = jnp.asarray(np.stack([p[1] for p in pairs]))
    batch = jax.jit(jax.vmap(fit_platt))(scores, labels)
    for i in range(0, 30, 7):
        one = fit_platt(scores[i], labels[i])
        probability = jax.tree.map(lambda leaf, i=i: leaf[i], batch)(scores[i])
        np.testing.assert_allclose(probability, one(scores[i]), atol=2e-5)


def test_derivative_is_that_of_the_optimum():
    scores, labels = problem(11, 25)
    weights = np.ones(25)
    with jax.enable_x64(True):

        def slope_and_offset(scores, weights):
            platt = fit_platt(scores, labels, weights=weights, tolerance=1e-13)
            return platt.a * 3 + platt.b

        check_grads(
            slope_and_offset, (jnp.asarray(scores), jnp.asarray(weights)), order=1, rtol=1e-4
        )


def test_float32_reaches_the_double_optimum():
    scores, labels = problem(13, 2000)
    single = fit_platt(scores.astype(np.float32), labels)
    with jax.enable_x64(True):
        double = fit_platt(scores, labels)
    assert bool(single.converged)
    np.testing.assert_allclose((single.a, single.b), (double.a, double.b), rtol=2e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [0, 1, 1]), "'labels' must have shape"),
        (([1.0, 2.0], [0, 2]), "booleans, 0 and 1"),
        (([1.0, np.inf], [0, 1]), "'scores' must be finite"),
        (([[1.0, 2.0]], [0, 1]), r"shape \[examples\]"),
        (([], []), "at least one"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_platt(np.asarray(arguments[0], np.float32), np.asarray(arguments[1], np.int32))


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0], "shape"), ([1.0, -1.0], "not negative"), ([0.0, 0.0], "not all be 0")],
)
def test_refuses_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        fit_platt([1.0, 2.0], [0, 1], weights=np.asarray(weights, np.float32))


def test_refuses_complex_scores():
    with pytest.raises(TypeError, match="'scores' must be real"):
        fit_platt(jnp.array([1j, 2j]), [0, 1])
