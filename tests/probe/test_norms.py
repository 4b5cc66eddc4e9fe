"""Norms whose squares leave the range of float32, against mpmath."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest

from sigjax.probe import normalized, safe_norm


def exact_norm(*arrays: jax.Array) -> float:
    values = [float(x) for array in arrays for x in np.asarray(array, np.float64).ravel()]
    return float(mpmath.sqrt(mpmath.fsum(mpmath.mpf(x) ** 2 for x in values)))


@pytest.mark.parametrize("magnitude", [1e-37, 1e-30, 1e-20, 1.0, 1e20, 1e30, 1e37])
def test_safe_norm_at_any_magnitude(magnitude):
    tree = {
        "w": jax.random.normal(jax.random.key(0), (5, 7)) * magnitude,
        "b": jax.random.normal(jax.random.key(1), (3,)) * magnitude * 1e-3,
    }
    expected = exact_norm(tree["w"], tree["b"])
    np.testing.assert_allclose(safe_norm(tree), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(safe_norm)(tree), expected, rtol=1e-6)


def test_safe_norm_of_leaves_far_apart():
    tree = [jnp.full(4, 1e-30), jnp.full(4, 1e30), jnp.zeros(3)]
    np.testing.assert_allclose(safe_norm(tree), 2e30, rtol=1e-6)
    np.testing.assert_allclose(safe_norm([tree[0], tree[2]]), 2e-30, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_safe_norm_of_16_bit_sums_in_float32(dtype):
    norm = safe_norm(jnp.ones(10_000, dtype))
    assert norm.dtype == jnp.float32
    assert norm == 100


@pytest.mark.parametrize("tree", [[], {}, jnp.zeros(0), jnp.zeros((2, 3)), [jnp.zeros(1)] * 2])
def test_safe_norm_of_nothing_is_zero(tree):
    assert safe_norm(tree) == 0


@pytest.mark.parametrize("value", [jnp.inf, -jnp.inf, jnp.nan])
def test_safe_norm_shows_what_is_not_finite(value):
    norm = safe_norm(jnp.array([1.0, value]))
    assert not jnp.isfinite(norm)


def test_safe_norm_is_that_of_optax_of_the_same_trees():
    trees = [
        {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.array(-2.0)},
        {"frozen": None, "w": jnp.arange(3.0), "masked": optax.MaskedNode()},
        {"z": jnp.array([3.0 - 4.0j, 1.0j]), "x": jnp.ones(2)},
        [jnp.arange(4), 2, 1.5, np.float32(0.5), jnp.array([True, False])],
        {},
        jnp.zeros(3),
    ]
    for tree in trees:
        # Optax adds leaves of several dtypes, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            expected = optax.tree.norm(jax.tree.map(lambda leaf: leaf * 1.0, tree))
        np.testing.assert_allclose(safe_norm(tree), expected, rtol=1e-6)


def test_safe_norm_clips_where_optax_cannot():
    gradient = jnp.full(4, 1e30)
    clipped = gradient / safe_norm(gradient)
    np.testing.assert_allclose(clipped, 0.5, rtol=1e-6)
    by_optax, _ = optax.clip_by_global_norm(1.0).update(gradient, optax.EmptyState())
    assert not jnp.any(by_optax)  # its norm is infinite


def test_the_gradient_of_safe_norm_is_the_direction_and_0_at_0():
    for magnitude in (1e-37, 1e-30, 1.0, 1e30, 1e37):
        tree = {"a": jnp.array([3.0, 0.0]) * magnitude, "b": jnp.array(-4.0) * magnitude}
        slope = jax.grad(safe_norm)(tree)
        np.testing.assert_allclose(slope["a"], [0.6, 0.0], rtol=1e-6)
        np.testing.assert_allclose(slope["b"], -0.8, rtol=1e-6)
    zero = {"a": jnp.zeros(2), "b": jnp.zeros(())}
    for slope in (jax.grad(safe_norm)(zero), jax.jit(jax.jacfwd(safe_norm))(zero)):
        np.testing.assert_array_equal(slope["a"], [0.0, 0.0])
        assert slope["b"] == 0
    # A leaf of zeros beside others, which is where weight decay and penalties meet it.
    assert not jnp.any(jax.grad(safe_norm)({"a": jnp.zeros(2), "b": jnp.ones(1)})["a"])


def test_safe_norm_takes_what_numpy_holds():
    column = np.array([3.0, 9.0, 4.0, 9.0], np.float32)[::2]
    column.setflags(write=False)
    for leaf in (
        column,
        np.asfortranarray([[3.0, 0.0], [0.0, 4.0]]),
        *(np.array([3, 4], dtype) for dtype in (">f4", ">f8", ">i2", np.longdouble, np.uint8)),
        np.array([3 - 4j], ">c8"),
        jnp.array([3, 4], jnp.float8_e4m3fn),
    ):
        assert safe_norm([leaf]) == 5
    np.testing.assert_allclose(safe_norm([np.array([2**62, 2**62]), 2**62]), 3**0.5 * 2**62)


@pytest.mark.parametrize("leaf", ["text", np.array(["a"]), np.array([{}])])
def test_safe_norm_refuses_what_is_no_number(leaf):
    with pytest.raises(TypeError, match="'tree' must hold numbers, got"):
        safe_norm({"a": leaf})


@pytest.mark.parametrize("magnitude", [1.2e-38, 1e-20, 1.0, 3.0, 1e38])
def test_normalized_loses_nothing(magnitude):
    x = jnp.array([1.0, -0.5, 0.0, 0.75]) * magnitude
    mantissa, exponent = normalized(x)
    assert 1 <= jnp.max(jnp.abs(mantissa)) < 4
    back = np.ldexp(np.asarray(mantissa, np.float64), int(exponent))
    # What was subnormal beside the largest element was 0 to the hardware before.
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-38)
    assert back[0] == x[0]


@pytest.mark.parametrize("value", [0.0, jnp.inf, jnp.nan])
def test_normalized_leaves_alone_what_has_no_exponent(value):
    mantissa, exponent = normalized(jnp.array([value]))
    np.testing.assert_array_equal(mantissa, [value])
    assert exponent == 0


def test_normalized_keeps_float64():
    with jax.enable_x64(True):
        mantissa, exponent = normalized(jnp.array([3e-300, 1e-301]))
        assert mantissa.dtype == jnp.float64
        np.testing.assert_array_equal(
            np.ldexp(np.asarray(mantissa), int(exponent)), [3e-300, 1e-301]
        )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_normalized_of_16_bits_is_exact(dtype):
    form = jnp.finfo(dtype)
    for largest in (form.tiny, form.max, form.dtype.type(12.0)):
        x = jnp.array([largest, -largest / 2, 0.0], dtype)
        mantissa, exponent = jax.jit(normalized)(x)
        assert mantissa.dtype == dtype
        assert 1 <= mantissa[0] < 4
        back = np.ldexp(np.asarray(mantissa, np.float64), int(exponent))
        np.testing.assert_array_equal(back[0], np.float64(x[0]))
        # Half of the smallest normal number is subnormal, and may be 0 to the hardware.
        np.testing.assert_allclose(back, np.asarray(x, np.float64), atol=float(form.tiny) / 2)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64, jnp.float8_e4m3fn])
def test_normalized_refuses_other_dtypes(dtype):
    with pytest.raises(TypeError, match="'x' must be one of bfloat16, float16, float32, float64"):
        normalized(jnp.zeros(2, dtype))
