"""Reliability against plain loops, NumPy's integers and float64, SciPy and scikit-learn."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jax.test_util import check_grads
from sklearn.calibration import calibration_curve

from sigjax.calibration import expected_calibration_error, reliability_curve


def forecasts(seed, n=500):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 1.2, size=n).astype(np.float32)
    return p, rng.uniform(size=n) < p**1.5


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_width_bins_equal_a_loop(bins):
    p, came = forecasts(0)
    curve = reliability_curve(p, came, bins=bins)
    error = 0.0
    edges = np.arange(bins + 1, dtype=np.float32) / np.float32(bins)
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (p > low) & (p <= high)
        assert int(curve.weight[i]) == inside.sum()
        np.testing.assert_allclose(curve.frequency[i], came[inside].mean(), rtol=1e-5)
        np.testing.assert_allclose(curve.probability[i], p[inside].mean(), rtol=1e-5)
        interval = scipy.stats.binomtest(int(came[inside].sum()), int(inside.sum())).proportion_ci(
            method="wilson"
        )
        np.testing.assert_allclose((curve.low[i], curve.high[i]), interval, atol=1e-5)
        error += inside.mean() * abs(came[inside].mean() - p[inside].mean())
    np.testing.assert_allclose(expected_calibration_error(p, came, bins=bins), error, rtol=1e-4)


def test_mass_bins_hold_equally_many():
    p, came = forecasts(1)
    curve = reliability_curve(p, came, bins=10, binning="mass")
    np.testing.assert_array_equal(curve.weight, 50)
    assert (np.diff(curve.edges) > 0).all()


def test_mass_bins_keep_equal_forecasts_together():
    p = np.array([0.1, 0.2, 0.2, 0.2, 0.2, 0.9], np.float32)
    curve = reliability_curve(p, p > 0.5, bins=3, binning="mass")
    assert sorted(np.asarray(curve.weight).tolist()) == [0, 1, 5]


def test_empty_bins_are_nan_and_cost_nothing():
    curve = reliability_curve([0.05, 0.95], [0, 1], bins=10)
    assert np.isnan(curve.frequency[4])
    assert np.isnan(curve.low[4])
    np.testing.assert_allclose(
        expected_calibration_error([0.05, 0.95], [0, 1], bins=10), 0.05, 1e-5
    )


def test_zero_is_in_the_first_bin():
    assert float(reliability_curve([0.0, 1.0], [0, 1], bins=5).weight[0]) == 1


def test_classes_count_the_chosen_one():
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.1, 0.8, 0.1]], np.float32)
    labels = np.array([0, 1, 1])
    plain = expected_calibration_error(np.float32([0.7, 0.4, 0.8]), np.array([1, 0, 1]))
    np.testing.assert_allclose(expected_calibration_error(p, labels), plain)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_weights_are_repetitions(binning):
    p, came = forecasts(2, 80)
    weights = np.random.default_rng(0).integers(1, 4, 80)
    weighted = expected_calibration_error(p, came, weights=weights, binning=binning)
    repeated = expected_calibration_error(p.repeat(weights), came.repeat(weights), binning=binning)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-4)


def test_a_batch_is_its_curves():
    pairs = [forecasts(seed, 100) for seed in range(4)]
    p, came = (np.stack(x) for x in zip(*pairs, strict=True))
    batch = jax.jit(jax.vmap(expected_calibration_error))(p, came)
    np.testing.assert_allclose(batch[2], expected_calibration_error(p[2], came[2]), rtol=1e-5)


def many(seed=0, n=10**6):
    rng = np.random.default_rng(seed)
    p = rng.random(n, dtype=np.float32)
    return p, rng.random(n, dtype=np.float32) < p


def true_gaps(p, came, bins=15):
    """Sums of outcome - forecast in bins, in integers and float64."""
    own = np.searchsorted((np.arange(1, bins) / bins).astype(np.float32), p)
    hits = np.bincount(own[came], minlength=bins)
    return hits - np.bincount(own, weights=p.astype(np.float64), minlength=bins)


def test_counts_go_on_where_float32_stands_still():
    n = 2**24 + 4001
    came = np.arange(n) % 20 < 3
    curve = reliability_curve(np.broadcast_to(np.float32(0.1), (n,)), came, bins=4)
    assert curve.weight.dtype == jnp.int32
    np.testing.assert_array_equal(curve.weight, [n, 0, 0, 0])
    np.testing.assert_allclose(curve.frequency[0], came.sum() / n, rtol=1.2e-7)
    np.testing.assert_allclose(curve.probability[0], np.float64(np.float32(0.1)), rtol=1.2e-7)


def test_gaps_are_right_to_1e8_of_a_forecast():
    p, came = many()
    truth = np.abs(true_gaps(p, came)).sum() / len(p)
    np.testing.assert_allclose(expected_calibration_error(p, came), truth, rtol=1e-6, atol=1e-13)
    # Forecasts that are all alike, whose rounding errors do not cancel.
    alike, half = np.full_like(p, 0.7), np.arange(len(p)) % 2 == 0
    truth = np.float64(np.float32(0.7)) - 0.5
    np.testing.assert_allclose(expected_calibration_error(alike, half), truth, rtol=2e-7)


def test_small_forecasts_keep_their_digits():
    rng = np.random.default_rng(1)
    p = (1e-6 * rng.random(1000)).astype(np.float32)
    curve = reliability_curve(p, np.zeros(1000, bool), bins=4)
    np.testing.assert_allclose(curve.probability[0], p.astype(np.float64).mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_order_and_devices_change_no_bit(kind):
    p, came = many(2, 4096)
    order = np.random.default_rng(0).permutation(4096)
    mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,))
    split = jax.device_put((p, came), NamedSharding(mesh, PartitionSpec("d")))
    for function in (reliability_curve, expected_calibration_error):
        found = jax.tree.leaves(function(p, came))
        for other in (function(p[order], came[order]), function(*split)):
            for one, two in zip(found, jax.tree.leaves(other), strict=True):
                np.testing.assert_array_equal(one, two)


def test_devices_sum_what_they_hold():
    mesh = jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("d"))
    terms = [jax.ShapeDtypeStruct((4 * 10**6,), dtype, sharding=rows) for dtype in ("f4", "bool")]
    program = jax.jit(expected_calibration_error).lower(*terms).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program


def test_memory_of_1e8_forecasts():
    n = 10**8
    terms = [jax.ShapeDtypeStruct((n,), dtype) for dtype in ("float32", "bool")]
    memory = jax.jit(expected_calibration_error).lower(*terms).compile().memory_analysis()
    assert memory.temp_size_in_bytes <= 2 * 4 * n


@pytest.mark.sampled(3)
@pytest.mark.parametrize("bins", [3, 49, 100])
def test_multiples_of_the_width_end_their_bin(bins):
    """(a, b]: k / bins is in bin k - 1, and 0 in the first."""
    p = np.arange(bins + 1) / bins
    weight = reliability_curve(p, np.zeros(bins + 1, bool), bins=bins).weight
    np.testing.assert_array_equal(weight, [2] + [1] * (bins - 1))
    with jax.enable_x64(True):
        weight = reliability_curve(p, np.zeros(bins + 1, bool), bins=bins).weight
    assert weight.dtype == jnp.int64
    np.testing.assert_array_equal(weight, [2] + [1] * (bins - 1))


def test_equals_scikit_learn():
    p, came = forecasts(3, 2000)
    frequency, probability = calibration_curve(came, p, n_bins=20)
    curve = reliability_curve(p, came, bins=20)
    filled = np.asarray(curve.weight) > 0
    np.testing.assert_allclose(np.asarray(curve.frequency)[filled], frequency, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(curve.probability)[filled], probability, rtol=1e-6)


@pytest.mark.parametrize("confidence", [0.5, 1 - 1e-9])
def test_intervals_near_certainty(confidence):
    p, came = np.full(50, 0.5, np.float32), np.arange(50) < 2
    curve = reliability_curve(p, came, bins=1, confidence=confidence)
    truth = scipy.stats.binomtest(2, 50).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose((curve.low[0], curve.high[0]), truth, rtol=1e-6)


def test_mass_edges_are_order_statistics():
    p, came = many(4, 10_007)
    edges = reliability_curve(p, came, bins=7, binning="mass").edges
    ranks = [-(-len(p) * k // 7) - 1 for k in range(1, 7)]
    np.testing.assert_array_equal(edges, [0, *np.sort(p)[ranks], 1])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_classwise_is_the_mean_over_classes(binning):
    rng = np.random.default_rng(5)
    p = rng.dirichlet(np.ones(3), size=300).astype(np.float32)
    labels, weights = rng.integers(0, 3, 300), rng.integers(0, 3, 300)
    error = functools.partial(expected_calibration_error, binning=binning, weights=weights)
    each = [float(error(p[:, k], labels == k)) for k in range(3)]
    np.testing.assert_allclose(error(p, labels, classwise=True), np.mean(each), rtol=1e-6)
    with pytest.raises(ValueError, match=r"'probabilities' must have .* where classwise=True"):
        error(p[:, 0], labels == 0, classwise=True)


def test_weights_of_any_size():
    rng = np.random.default_rng(6)
    p, came = many(6, 5000)
    for size in (1e-30, 1e30):
        w = (size * np.exp(3 * rng.normal(size=5000))).astype(np.float32)
        wide, own = w.astype(np.float64), np.ceil(p * np.float64(4)).astype(int) - 1
        curve = reliability_curve(p, came, bins=4, weights=w)
        for sums, found in ((wide, curve.weight), (wide * came, curve.weight * curve.frequency)):
            np.testing.assert_allclose(found, np.bincount(own, sums), rtol=1e-6)
        gaps = np.abs(np.bincount(own, wide * (came - p.astype(np.float64)))).sum() / wide.sum()
        error = expected_calibration_error(p, came, bins=4, weights=w)
        np.testing.assert_allclose(error, gaps, rtol=1e-6)


def test_derivatives_with_the_bins_as_they_are():
    p, came = forecasts(7, 40)
    p, w = p.astype(np.float64), np.random.default_rng(0).uniform(0.5, 1.5, 40)
    with jax.enable_x64(True):
        error = functools.partial(expected_calibration_error, labels=came, bins=3)
        check_grads(lambda p, w: error(p, weights=w), (jnp.asarray(p), jnp.asarray(w)), order=1)
        slope = jax.grad(error)(jnp.asarray(p))
    own = np.ceil(p * 3).astype(int) - 1
    gaps = np.bincount(own, came - p, minlength=3)
    np.testing.assert_allclose(slope, -np.sign(gaps)[own] / 40, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": [0.1, 1.2]}, r"lie in \[0, 1\]"),
        ({"labels": [0, 1, 1]}, "'labels' must have shape"),
        ({"labels": [0, 2]}, "0 and 1"),
        ({"bins": 0}, "'bins' must be at least 1"),
        ({"weights": [1.0, -1.0]}, "'weights' .* got -1.0 at index 1"),
        ({"binning": "depth"}, "width, mass"),
        ({"confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        reliability_curve(**{"probabilities": [0.1, 0.9], "labels": [0, 1]} | arguments)
