"""Reliability against plain loops and scipy's intervals."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probabilities": [0.1, 1.2]}, r"lie in \[0, 1\]"),
        ({"labels": [0, 1, 1]}, "labels must have shape"),
        ({"labels": [0, 2]}, "0 and 1"),
        ({"bins": 0}, "bins must be at least 1"),
        ({"binning": "depth"}, "width, mass"),
        ({"confidence": 1.0}, "between 0 and 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        reliability_curve(**{"probabilities": [0.1, 0.9], "labels": [0, 1]} | arguments)
