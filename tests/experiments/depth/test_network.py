"""The scaled backward pass against NumPy, mpmath, `jax.grad` and closed forms."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import sigjax
from experiments.datasets.images import CLASSES, PIXELS, Batch, digits, gaussian
from experiments.depth._activations import ACTIVATIONS
from experiments.depth._architecture import Architecture, norms_of_layers
from experiments.depth._bounds import spectral_norm_from_below
from experiments.depth._initializers import INITIALIZERS, weight_initializer
from experiments.depth._network import SEED_AXES, PlainNetwork, draw_weights, layer_gradients
from experiments.depth._normalization import NORMS
from experiments.depth._profile import log10_magnitude


def draw(name="standard", activation="sigmoid", *, seeds=1, depth=5, width=24):
    kernel, gain = weight_initializer(name, activation)
    return draw_weights(
        jax.random.key(3),
        kernel,
        gain,
        seeds=seeds,
        depth=depth,
        width=width,
        inputs=PIXELS,
        classes=CLASSES,
    )


def one_seed(weights, seed=0):
    return jax.tree.map(lambda w, axis: jnp.take(w, seed, axis), weights, SEED_AXES)


@functools.partial(jax.jit, static_argnums=0)
def read(network, weights, batch):
    return layer_gradients(network, weights, batch)


@jax.jit
def read_any(architecture, weights, batch):
    return norms_of_layers(weights, batch, architecture)


# Activations and their slopes in closed form.
NUMPY = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: 1 / (2 + np.exp(z) + np.exp(-z))),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: np.abs(z) < 1),
    "relu": (lambda z: np.maximum(z, 0), lambda z: z > 0),
    "silu": (
        lambda z: z / (1 + np.exp(-z)),
        lambda z: (1 + (1 + z) * np.exp(-z)) / (1 + np.exp(-z)) ** 2,
    ),
    "centred_sigmoid": (lambda z: 2 * np.tanh(z / 2), lambda z: 1 / np.cosh(z / 2) ** 2),
}


def numpy_profile(weights, batch, activation="sigmoid"):
    """log10 norms of a network in float64, its cotangent rescaled by hand."""
    function, slope_of = NUMPY[activation]
    kernels = [np.asarray(weights.input, np.float64), *np.asarray(weights.hidden, np.float64)]
    readout = np.asarray(weights.readout, np.float64)
    h, signals, slopes = np.asarray(batch.inputs, np.float64), [], []
    for kernel in kernels:
        z = h @ kernel
        signals.append(h)
        h = function(z)
        slopes.append(slope_of(z))
    logits = h @ readout
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(p)), np.asarray(batch.labels)] -= 1
    cotangent, log10_scale, found = p @ readout.T / len(p), 0.0, []
    for kernel, signal, slope in zip(kernels[::-1], signals[::-1], slopes[::-1], strict=True):
        delta = cotangent * slope
        size = np.linalg.norm(delta)
        log10_scale += np.log10(size)
        delta /= size
        found.append((np.log10(np.linalg.norm(signal.T @ delta)) + log10_scale, log10_scale))
        cotangent = delta @ kernel.T
    return np.array(found[::-1]).T


@pytest.mark.sampled(10)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_agrees_with_jax_grad_where_that_can_be_trusted(activation, norm, residual):
    network = PlainNetwork(ACTIVATIONS[activation].function, NORMS[norm], residual)
    weights, batch = one_seed(draw(activation=activation)), digits(jax.random.key(1), 16)
    gradient = jax.jit(jax.grad(network.loss))(weights, batch)
    expected = [jnp.linalg.norm(gradient.input), *jnp.linalg.norm(gradient.hidden, axis=(1, 2))]
    found = read_any(Architecture.of(activation, norm, residual, 5), weights, batch)
    np.testing.assert_allclose(
        log10_magnitude(found.weight), np.log10(np.array(expected)), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_found_by_its_number(activation):
    weights, batch = one_seed(draw(activation="tanh")), digits(jax.random.key(1), 16)
    found = read_any(Architecture.of(activation, "none", False, 5), weights, batch)
    weight, preactivation = numpy_profile(weights, batch, activation)
    np.testing.assert_allclose(log10_magnitude(found.weight), weight, rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        log10_magnitude(found.preactivation), preactivation, rtol=0, atol=2e-5
    )


def test_a_depth_is_that_of_the_network_without_the_layers_beyond():
    weights, batch = one_seed(draw()), digits(jax.random.key(1), 16)
    found = read_any(Architecture.of("sigmoid", "none", False, 3), weights, batch)
    expected, _ = numpy_profile(weights._replace(hidden=weights.hidden[:2]), batch)
    np.testing.assert_allclose(log10_magnitude(found.weight)[:3], expected, rtol=0, atol=2e-5)
    np.testing.assert_array_equal(found.weight.mantissa[3:], 0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("batch_size", [4, 96])
def test_agrees_with_float64_on_both_sides_of_the_gram_switch(batch_size):
    weights, batch = one_seed(draw(depth=40)), gaussian(jax.random.key(2), batch_size)
    found = read(PlainNetwork(sigjax.sigmoid), weights, batch)
    weight, preactivation = numpy_profile(weights, batch)
    np.testing.assert_allclose(log10_magnitude(found.weight), weight, rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        log10_magnitude(found.preactivation), preactivation, rtol=0, atol=2e-5
    )


def test_a_thousand_layers_in_float32():
    weights, batch = one_seed(draw(depth=1000, width=32)), digits(jax.random.key(1), 8)
    found = log10_magnitude(read(PlainNetwork(sigjax.sigmoid), weights, batch).weight)
    assert np.all(np.isfinite(found))
    assert found[0] < -800
    weight, _ = numpy_profile(weights, batch)
    np.testing.assert_allclose(found, weight, rtol=1e-5)


def test_width_one_against_the_product_in_mpmath():
    # With one unit the gradient is a product of numbers, which mpmath forms with any exponent.
    depth = 300
    weights = one_seed(draw(depth=depth, width=1))
    batch = Batch(jnp.full((1, PIXELS), 0.1), jnp.array([3], jnp.int32))
    found = log10_magnitude(read(PlainNetwork(sigjax.sigmoid), weights, batch).preactivation)
    with mpmath.workdps(30):
        kernels = [mpmath.mpf(float(w)) for w in weights.hidden.ravel()]
        z = [
            mpmath.fsum(
                float(x) * float(w)
                for x, w in zip(batch.inputs[0], weights.input[:, 0], strict=True)
            )
        ]
        for kernel in kernels:
            z.append(kernel / (1 + mpmath.exp(-z[-1])))
        delta, expected = mpmath.mpf(1), []
        for layer in reversed(range(depth)):
            delta *= mpmath.exp(z[layer]) / (1 + mpmath.exp(z[layer])) ** 2
            expected.append(float(mpmath.log10(abs(delta))))
            delta *= kernels[layer - 1] if layer else 1
    expected = np.array(expected[::-1])
    np.testing.assert_allclose(found - found[-1], expected - expected[-1], rtol=0, atol=1e-4)


def test_deep_orthogonal_linear_network_keeps_its_norm():
    weights = one_seed(draw("orthogonal", depth=200))
    found = read(PlainNetwork(lambda z: z), weights, gaussian(jax.random.key(2), 8))
    # Rows of the 64 x 24 input layer are orthonormal columns: layers 1 to 200 all see one norm.
    np.testing.assert_allclose(np.ptp(log10_magnitude(found.preactivation)), 0, atol=1e-4)


@pytest.mark.slice
def test_saturated_slopes_do_not_vanish():
    # sigma(1 - sigma) is 0 in float32 beyond 17; at 40 the slope is 4e-18.
    weights = one_seed(draw())
    weights = weights._replace(hidden=jnp.full_like(weights.hidden, 40 / 24))
    batch = digits(jax.random.key(1), 16)
    sigmoid = Architecture.of("sigmoid", "none", False, 5)
    found = log10_magnitude(read_any(sigmoid, weights, batch).weight)
    expected, _ = numpy_profile(weights, batch)
    assert expected[0] < -30
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_signals_too_small_to_square():
    weights, batch = one_seed(draw()), digits(jax.random.key(1), 16)
    relu = Architecture.of("relu", "none", False, 5)
    usual = log10_magnitude(read_any(relu, weights, batch).weight)
    small = weights._replace(input=weights.input * 1e-25, readout=weights.readout)
    found = log10_magnitude(read_any(relu, small, batch).weight)
    np.testing.assert_allclose(found[1:] - usual[1:], -25, atol=0.5)


def test_seeds_are_independent_of_vmap():
    weights, batch = draw(seeds=3), digits(jax.random.key(1), 16)
    network = PlainNetwork(sigjax.sigmoid)
    together = jax.vmap(functools.partial(read, network), (SEED_AXES, None))(weights, batch)
    for seed in range(3):
        alone = read(network, one_seed(weights, seed), batch)
        np.testing.assert_allclose(
            log10_magnitude(together.weight)[seed], log10_magnitude(alone.weight), atol=1e-6
        )


@pytest.mark.sampled(2)
@pytest.mark.parametrize("residual", [False, True])
def test_weights_that_are_drawn_again_give_what_stored_ones_give(residual):
    weights, batch = one_seed(draw()), digits(jax.random.key(1), 16)
    keys = jax.random.split(jax.random.key(2), 4)

    def kernel(key):
        return 0.2 * jax.random.normal(key, (24, 24))

    network = PlainNetwork(sigjax.sigmoid, residual=residual)
    stored = weights._replace(hidden=jnp.stack([kernel(key) for key in keys]))
    again = jax.jit(functools.partial(layer_gradients, network, draw=kernel))(
        weights._replace(hidden=keys), batch
    )
    for found, expected in zip(again, read(network, stored, batch), strict=True):
        np.testing.assert_allclose(log10_magnitude(found), log10_magnitude(expected), atol=1e-5)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_gain_is_the_standard_deviation_of_the_weights(name):
    _, gain = weight_initializer(name, "tanh")
    hidden = draw(name, "tanh", width=64).hidden
    np.testing.assert_allclose(jnp.std(hidden) * 8, gain, rtol=0.03)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_slope_exceeds_the_steepest(name):
    x = jnp.linspace(-6, 6, 10_001)
    slope = jax.jvp(ACTIVATIONS[name].function, (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(jnp.max(slope), ACTIVATIONS[name].steepest, rtol=1e-5)


def test_spectral_norm_from_below_is_below_and_close():
    matrices = jax.random.normal(jax.random.key(0), (2, 3, 40, 40))
    exact = np.linalg.norm(np.asarray(matrices, np.float64), 2, axis=(-2, -1))
    found = spectral_norm_from_below(matrices)
    assert np.all(found <= exact * (1 + 1e-6))
    np.testing.assert_allclose(found, exact, rtol=0.03)
