"""Initialisers: what a network does before it has learnt anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax
from sigjax.initializers import chrono, critical, orthogonal_gain, prior_bias
from sigjax.losses import sigmoid_binary_cross_entropy

KEY = jax.random.key(0)


def test_prior_bias_is_the_log_odds():
    assert prior_bias(0.9)(KEY, (1,))[0] == np.float32(2.1972246)
    assert prior_bias(0.01)(KEY, (1,))[0] == np.float32(-4.595120)
    with jax.enable_x64(True):
        assert prior_bias(0.9)(KEY, (1,), jnp.float64)[0] == pytest.approx(np.log(9), rel=1e-15)


def test_prior_bias_of_each_class():
    bias = prior_bias([0.5, 0.9, 0.01])(KEY, (3,), jnp.float32)
    np.testing.assert_allclose(bias, np.log([1, 9, 1 / 99]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("bias", "loss"), [(0.0, 0.693147), (None, 0.056002)])
def test_first_loss_at_one_percent_positives(bias, loss):
    """Lin et al. 2017, section 4.1."""
    labels = jnp.arange(1000) < 10
    logit = prior_bias(0.01)(KEY, ()) if bias is None else jnp.float32(bias)
    found = sigmoid_binary_cross_entropy(logit, labels).mean()
    assert float(found) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, [0.5, 1.5], float("nan")])
def test_prior_bias_refuses_certainty(probability):
    with pytest.raises(ValueError, match="'probability' must be strictly between 0 and 1"):
        prior_bias(probability)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_chrono_makes_memory_times_uniform(dtype):
    """1/(1 - f) = 1 + e^b ~ U(2, T): Tallec & Ollivier 2018."""
    bias = chrono(1000)(KEY, (100_000,), dtype)
    assert bias.dtype == dtype
    times = np.sort(1 + np.exp(np.float64(bias)))
    assert times[0] >= 1.99
    assert times[-1] <= 1000 * (1 + 8 * float(jnp.finfo(dtype).eps))
    uniform = np.linspace(2, 1000, len(times))
    assert np.max(np.abs(times - uniform)) < 10 + 4000 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("times", [(1.0, 2.0), (2.0, 2.0), (10.0, 20.0), (float("inf"), 2.0)])
def test_chrono_refuses_times_out_of_order(times):
    with pytest.raises(ValueError, match="2 <= min_time < max_time"):
        chrono(*times)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("activation", "std"), [(jnp.tanh, 1.0), (jax.nn.relu, 2**0.5), (lambda x: x, 1.0)]
)
def test_critical_weights(activation, std):
    """tanh and identity: 1 (LeCun's rule); relu: He's."""
    kernel = critical(activation)(KEY, (512, 2048))
    assert float(kernel.std()) * 512**0.5 == pytest.approx(std, rel=5e-3)


def test_critical_weights_with_biases():
    """By adaptive quadrature: at bias variance .05 tanh is critical at weight variance 1.760955."""
    kernel = critical(jnp.tanh, 0.05**0.5)(KEY, (1024, 1024))
    assert float(kernel.var()) * 1024 == pytest.approx(1.760955, rel=5e-3)


@pytest.mark.parametrize("initializer", [critical, orthogonal_gain])
def test_an_activation_without_critical_point_is_refused(initializer):
    with pytest.raises(ValueError, match="are critical for activation"):
        initializer(sigjax.silu)


@pytest.mark.parametrize("shape", [(64, 64), (64, 16), (16, 64), (3, 3, 8, 16)])
def test_orthogonal_gain(shape):
    kernel = np.asarray(orthogonal_gain(jax.nn.relu)(KEY, shape)).reshape(-1, shape[-1])
    singular = np.linalg.svd(kernel, compute_uv=False)
    fan_in, outputs = kernel.shape
    expected = 2**0.5 * max(1, outputs / fan_in) ** 0.5
    np.testing.assert_allclose(singular, expected, rtol=1e-3)


def test_under_jit():
    @jax.jit
    def draw(key):
        biases = chrono(100)(key, (4,)), prior_bias(0.25)(key, (4,))
        return (*biases, critical(jnp.tanh)(key, (4, 4)))

    assert all(jnp.all(jnp.isfinite(array)) for array in draw(KEY))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "make",
    [
        lambda: orthogonal_gain(jax.nn.relu),
        lambda: critical(jnp.tanh),
        lambda: chrono(1000),
        lambda: prior_bias(0.01),
    ],
    ids=["orthogonal_gain", "critical", "chrono", "prior_bias"],
)
def test_16_bit_is_drawn_in_float32_and_rounded(make, dtype):
    initializer = make()
    found, wide = (initializer(KEY, (16, 32), d) for d in (dtype, jnp.float32))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, wide.astype(dtype))


def test_a_traced_prior():
    @jax.jit
    def draw(p):
        return prior_bias(p)(KEY, (2,)), prior_bias([p, 0.5])(KEY, (2,), jnp.bfloat16)

    one, two = draw(0.9)
    np.testing.assert_allclose(one, np.log(9), rtol=1e-6)
    np.testing.assert_allclose(np.float32(two), [np.log(9), 0], rtol=4e-3)
    assert np.all(np.isnan(draw(1.5)[0]))
    slope = jax.grad(lambda p: prior_bias(p)(KEY, ()))(0.2)
    np.testing.assert_allclose(slope, 1 / (0.2 * 0.8), rtol=1e-6)
