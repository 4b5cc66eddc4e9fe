"""Swap the import and change nothing else: names, dtypes, weak types and values of jax's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax

PEERS = {
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "swish": jax.nn.swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "log1mexp": jax.nn.log1mexp,
    "logit": jax.scipy.special.logit,
}
ARGUMENTS = [
    0.5,
    np.float32(0.5),
    np.float16(0.5),
    np.linspace(0.1, 0.9, 5, dtype=np.float32),
    jnp.linspace(0.1, 0.9, 5, dtype=jnp.bfloat16),
    jnp.zeros((0, 2)),
]


@pytest.mark.parametrize("name", PEERS)
def test_the_first_argument_has_the_same_name(name):
    ours, theirs = (
        next(iter(inspect.signature(f).parameters)) for f in (getattr(sigjax, name), PEERS[name])
    )
    assert ours == theirs or name == "logit"  # jax.scipy.special.logit(x)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("argument", ARGUMENTS, ids=repr)
@pytest.mark.parametrize("name", PEERS)
def test_dtype_weak_type_shape_and_value(name, argument):
    ours, theirs = getattr(sigjax, name)(argument), PEERS[name](argument)
    assert (ours.dtype, ours.shape, ours.weak_type) == (
        theirs.dtype,
        theirs.shape,
        theirs.weak_type,
    )
    unit = 2 * float(jnp.finfo(ours.dtype).eps)
    np.testing.assert_allclose(
        np.asarray(ours, np.float64), np.asarray(theirs, np.float64), rtol=unit, atol=unit
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("argument", [1, True, np.int8(1), jnp.ones((2, 3), jnp.int32)], ids=repr)
@pytest.mark.parametrize("name", PEERS)
def test_integers_become_the_default_float(name, argument):
    """As where jax.nn takes them: its sigmoid refuses integers under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        expected = jax.nn.softplus(argument)
    result = getattr(sigjax, name)(argument)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(result, getattr(sigjax, name)(expected * 0 + 1))


@pytest.mark.parametrize("name", PEERS)
def test_moderate_values_and_gradients(name):
    x = jnp.linspace(0.05, 0.95, 181)
    ours, theirs = getattr(sigjax, name), PEERS[name]
    np.testing.assert_allclose(ours(x), theirs(x), rtol=2e-5, atol=1e-6)
    slopes = [jax.vmap(jax.grad(f))(x) for f in (ours, theirs)]
    np.testing.assert_allclose(*slopes, rtol=2e-5)


def test_float64_where_it_is_on():
    with jax.enable_x64(True):
        for name, peer in PEERS.items():
            assert getattr(sigjax, name)(np.float64(0.5)).dtype == peer(np.float64(0.5)).dtype


def test_a_model_trains_with_either():
    """The same regression with both libraries' log_sigmoid, to the same loss."""
    key = jax.random.key(0)
    inputs = jax.random.normal(key, (64, 3))
    labels = jnp.sign(inputs @ jnp.array([1.0, -2.0, 0.5]))

    def train(log_sigmoid):
        def loss(weights):
            return -jnp.mean(log_sigmoid(labels * (inputs @ weights)))

        def step(weights, _):
            return weights - 0.5 * jax.grad(loss)(weights), loss(weights)

        return jax.lax.scan(step, jnp.zeros(3), length=50)[1]

    np.testing.assert_allclose(train(sigjax.log_sigmoid), train(jax.nn.log_sigmoid), rtol=1e-5)
