"""Temperature against scikit-learn's and a closed form."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from sigjax.calibration import expected_calibration_error, fit_temperature


def sample(seed, scale, n=6000, classes=7):
    """Logits `scale` times those that the labels were drawn from."""
    rng = np.random.default_rng(seed)
    true = 2 * rng.normal(size=(n, classes))
    labels = (true + rng.gumbel(size=true.shape)).argmax(axis=1)
    return scale * true, labels


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_is_scipys_optimum_and_recovers_the_scale(scale):
    logits, labels = sample(0, scale)

    def loss(log_beta):
        p = scipy.special.log_softmax(np.exp(log_beta) * logits, axis=1)
        return -p[np.arange(len(labels)), labels].mean()

    best = scipy.optimize.minimize_scalar(loss, bounds=(-10, 10), options={"xatol": 1e-10})
    with jax.enable_x64(True):
        found = fit_temperature(logits, labels)
        assert expected_calibration_error(found(logits), labels) < 0.03
        assert (np.asarray(found.logits(logits)).argmax(1) == logits.argmax(1)).all()
    np.testing.assert_allclose(found.temperature, np.exp(-best.x), rtol=1e-6)
    np.testing.assert_allclose(found.temperature, scale, rtol=0.05)
    single = fit_temperature(logits.astype(np.float32), labels)
    np.testing.assert_allclose(single.temperature, found.temperature, rtol=1e-4)


def test_binary_decisions_are_two_classes():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=500).astype(np.float32)
    labels = rng.uniform(size=500) < 1 / (1 + np.exp(-2 * logits))
    binary = fit_temperature(logits, labels)
    pair = fit_temperature(np.stack([np.zeros_like(logits), logits], 1), labels.astype(np.int32))
    np.testing.assert_allclose(binary.temperature, pair.temperature, rtol=1e-5)
    np.testing.assert_allclose(binary(logits), pair(np.stack([0 * logits, logits], 1))[:, 1], 1e-5)


@pytest.mark.slice
def test_three_of_four_right():
    # each answer of odds e^(3/T) is right in three cases of four
    found = fit_temperature([3.0, 3.0, 3.0, 3.0], [1, 1, 1, 0])
    np.testing.assert_allclose(found.temperature, 3 / np.log(3), rtol=1e-6)


def test_bounds_where_no_temperature_is_best():
    right = fit_temperature(np.float32([[3, 1], [0, 2]]), np.array([0, 1]))
    wrong = fit_temperature(np.float32([[3, 1], [0, 2]]), np.array([1, 0]))
    assert np.exp(-10.001) <= float(right.temperature) < 0.1
    np.testing.assert_allclose(wrong.temperature, np.exp(10), rtol=1e-4)
    assert not right.converged
    assert not wrong.converged


@pytest.mark.parametrize(
    ("dtype", "exponents"), [("float32", (-19, 5, 34)), ("float64", (-160, 154))]
)
def test_any_scale_gives_the_same_fit(dtype, exponents):
    logits, labels = sample(3, 2.0, n=400)
    with jax.enable_x64(dtype == "float64"):
        plain = fit_temperature(logits.astype(dtype), labels)
        for exponent in exponents:
            scaled = fit_temperature((logits * 10.0**exponent).astype(dtype), labels)
            assert bool(scaled.converged)
            found = np.float64(scaled.temperature) / 10.0**exponent
            np.testing.assert_allclose(found, plain.temperature, rtol=1e-6)


@pytest.mark.parametrize("size", [1e6, 1e25])
def test_one_sure_answer_that_is_right_changes_nothing(size):
    logits, labels = sample(4, 2.0, n=400)
    plain = fit_temperature(logits.astype(np.float32), labels)
    sure = np.append(logits, [[size] + 6 * [0]], axis=0).astype(np.float32)
    found = fit_temperature(sure, np.append(labels, 0))
    np.testing.assert_allclose(found.temperature, plain.temperature, rtol=1e-5)


def test_equal_logits_have_no_temperature():
    found = fit_temperature(np.zeros((3, 2), np.float32), [0, 1, 1])
    assert float(found.temperature) == 1
    assert not bool(found.converged)


def test_weights_and_batches():
    logits, labels = sample(2, 2.0, n=60)
    weights = np.random.default_rng(3).integers(0, 3, 60)
    logits = logits.astype(np.float32)
    weighted = fit_temperature(logits, labels, weights=weights)
    repeated = fit_temperature(logits.repeat(weights, axis=0), labels.repeat(weights))
    np.testing.assert_allclose(weighted.temperature, repeated.temperature, rtol=1e-5)
    batch = jax.jit(jax.vmap(fit_temperature))(
        np.stack([logits, 2 * logits]), np.stack([labels] * 2)
    )
    np.testing.assert_allclose(batch.temperature[1], 2 * batch.temperature[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), [0, 3], "from 0 to 2"),
        (np.zeros((2, 3)), [0], "'labels' must have shape"),
        (np.full((2, 3), np.nan), [0, 1], "'logits' must be finite"),
        (np.zeros((2, 3, 1)), [0, 1], "'logits' must have shape"),
    ],
)
def test_refuses(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits.astype(np.float32), np.array(labels))


def test_refuses_labels_that_are_no_classes():
    with pytest.raises(TypeError, match="'labels' must be integers"):
        fit_temperature(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
