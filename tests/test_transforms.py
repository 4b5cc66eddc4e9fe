"""The same numbers under every transformation, and one trace a shape."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

import sigjax

pytestmark = pytest.mark.usefixtures("optimized")

NAMES = ["sigmoid", "log_sigmoid", "softplus", "silu", "logit", "log1mexp", "log_cosh", "cloglog"]
X = jnp.asarray(np.random.default_rng(0).uniform(0.01, 0.99, (8, 16)), jnp.float32)


def derivatives(function, x):
    """Value, first and second derivative of every element."""
    ones = jnp.ones_like(x)

    def first(x):
        return jax.jvp(function, (x,), (ones,))[1]

    return function(x), first(x), jax.jvp(first, (x,), (ones,))[1]


def of_all(names, of_one, *arguments):
    """What is computed of each function, in one program where this is called inside of one."""
    return {name: of_one(getattr(sigjax, name), *arguments) for name in names}


SURROUNDINGS = {
    "jit": jax.jit,
    "vmap": lambda f: jax.jit(jax.vmap(f)),
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, row: (c, f(row)), 0, x)[1],
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "remat": lambda f: jax.jit(jax.checkpoint(f)),
    "cond": lambda f: lambda x: jax.lax.cond(True, f, f, x),
}


@pytest.mark.slow
@pytest.mark.sampled(6)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("names", [NAMES[::2], NAMES[1::2]], ids=["even", "odd"])
def test_the_same_bits_whatever_surrounds_them(names, dtype):
    x = X.astype(dtype)
    eager = jax.tree.map(np.asarray, of_all(names, derivatives, x))
    for name, around in SURROUNDINGS.items():
        found = jax.tree.map(np.asarray, around(lambda x: of_all(names, derivatives, x))(x))
        chex.assert_trees_all_close(found, eager, atol=0, rtol=0, custom_message=name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_fused_with_neighbours(name, dtype):
    """In a fusion XLA may keep excess precision: the result is no worse than one more rounding."""
    function, x = getattr(sigjax, name), X.astype(dtype)
    fused = jax.jit(lambda x: function(x * 1) * 1 + 0)(x)
    np.testing.assert_allclose(
        np.asarray(fused, np.float64),
        np.asarray(function(x), np.float64),
        rtol=2 * float(jnp.finfo(dtype).eps),
    )


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_reverse_mode_agree_to_the_third_order(name):
    f = getattr(sigjax, name)
    x = jnp.float32(0.3)
    forward, reverse = jax.jacfwd, jax.jacrev
    for order in range(1, 4):
        g, h, mixed = f, f, f
        for i in range(order):
            g, h = forward(g), reverse(h)
            mixed = (forward, reverse)[i % 2](mixed)
        np.testing.assert_allclose([h(x), mixed(x)], [g(x)] * 2, rtol=1e-6)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", NAMES)
def test_jvp_of_vjp(name):
    f = getattr(sigjax, name)

    def pulled(x):
        return jax.vjp(f, x)[1](jnp.ones_like(x))[0]

    result = jax.jvp(pulled, (X,), (jnp.ones_like(X),))[1]
    np.testing.assert_array_equal(result, derivatives(f, X)[2])


@pytest.mark.parametrize("name", NAMES)
def test_linearize_and_transpose(name):
    f = getattr(sigjax, name)
    value, linear = jax.linearize(f, X)
    transposed = jax.linear_transpose(linear, X)
    np.testing.assert_array_equal(value, f(X))
    np.testing.assert_array_equal(transposed(jnp.ones_like(X))[0], linear(jnp.ones_like(X)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", NAMES)
def test_sharded_over_devices(name):
    assert jax.device_count() == 4
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("batch"))
    f = getattr(sigjax, name)
    sharded = jax.jit(lambda x: derivatives(f, x))(jax.device_put(X, sharding))
    assert sharded[0].sharding.is_equivalent_to(sharding, ndim=2)
    for ours, eager in zip(sharded, derivatives(f, X), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(eager))


@pytest.mark.parametrize("name", NAMES)
def test_shard_map(name):
    mesh = jax.make_mesh((4,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    f, spec = getattr(sigjax, name), PartitionSpec("batch")
    mapped = jax.shard_map(jax.grad(lambda x: f(x).sum()), mesh=mesh, in_specs=spec, out_specs=spec)
    np.testing.assert_array_equal(np.asarray(jax.jit(mapped)(X)), np.asarray(derivatives(f, X)[1]))


def test_one_trace_a_shape():
    @jax.jit
    @chex.assert_max_traces(n=2)
    def step(x):
        return jax.value_and_grad(lambda y: sigjax.silu(y).sum())(x)

    for size in (3, 4, 3, 4, 3):
        step(jnp.ones(size))


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu"])
def test_inside_a_fixed_point(name):
    f = getattr(sigjax, name)

    def settle(a):
        return jax.lax.fori_loop(0, 30, lambda _, y: f(a * y - 1), jnp.zeros_like(a))

    slope = jax.jacfwd(settle)(jnp.float32(0.4))
    step = 1e-2
    expected = (settle(jnp.float32(0.4 + step)) - settle(jnp.float32(0.4 - step))) / (2 * step)
    np.testing.assert_allclose(slope, expected, rtol=1e-3)
