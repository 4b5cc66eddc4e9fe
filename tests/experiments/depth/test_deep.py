"""Networks whose depth is a number at run time, and their training."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.depth._deep import Parameters, forward
from experiments.depth._initializers import GAUSSIAN
from experiments.depth._training import networks, trainer


def test_a_network_with_room_for_more_layers_is_the_one_without():
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape) / shape[0] ** 0.5, jnp.float32)

    p = Parameters(drawn(5, 6), drawn(6), drawn(3, 6, 6), drawn(3, 6), drawn(6, 2), drawn(2))
    x = drawn(4, 5)

    def loss(p, depth):
        logits, layers = forward(p, x, jnp.tanh, depth)
        return jnp.sum(jnp.square(logits)), layers

    (value, layers), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(p, jnp.int32(3))
    whole = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), p)
    signals = [np.tanh(np.asarray(x, np.float64) @ whole.first + whole.first_bias)]
    for kernel, bias in zip(whole.hidden[:2], whole.hidden_bias[:2], strict=True):
        signals.append(np.tanh(signals[-1] @ kernel + bias))
    logits = signals[-1] @ whole.readout + whole.readout_bias
    np.testing.assert_allclose(value, np.sum(logits**2), rtol=1e-5)
    np.testing.assert_allclose(layers, [*signals, signals[-1]], atol=1e-6)
    np.testing.assert_array_equal(gradient.hidden[2], 0)
    # Back-propagation by hand, down to the first layer's biases.
    delta = 2 * logits @ whole.readout.T * (1 - signals[2] ** 2)
    np.testing.assert_allclose(gradient.hidden[1], signals[1].T @ delta, atol=1e-5)
    for kernel, signal in ((whole.hidden[1], signals[1]), (whole.hidden[0], signals[0])):
        delta = delta @ kernel.T * (1 - signal**2)
    np.testing.assert_allclose(gradient.first_bias, delta.sum(0), atol=1e-5)


def test_training_learns_digits_at_two_depths_with_one_program(standard_promotion):
    run = jax.jit(
        trainer(
            jax.random.key(0),
            activations=(jnp.tanh,),
            kernels=(GAUSSIAN,),
            width=30,
            deepest=6,
            steps=60,
            batch=32,
        )
    )
    for depth in (2, 6):
        one = jax.tree.map(lambda leaf: leaf[0], networks(depth, [1.2], 0.1, [0.01]))
        losses, accuracy = run(one)
        assert losses.shape == (60,)
        assert accuracy > 0.6
    assert run._cache_size() == 1
