"""What every function takes, and what it says of the rest."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sigjax

UNARY = sorted(
    set(sigjax.__dict__)
    & {
        *("sigmoid", "log_sigmoid", "log1m_sigmoid", "softplus", "softplus_inverse", "silu"),
        *("swish", "logit", "log1mexp", "logitexp", "logit1mexp", "log_cosh", "cloglog"),
        *("cloglog_inverse", "tanh_from_sigmoid", "sigmoid_linear", "sigmoid_linear_error"),
        *("hard_sigmoid", "sigmoid_derivative"),
    }
)
JOINT = {
    "logaddexp": 2,
    "logsubexp": 2,
    "log_sigmoid_diff": 2,
    "bounded_sigmoid": 3,
    "bounded_logit": 3,
    "bounded_sigmoid_log_det": 3,
    "soft_switch": 3,
}


def test_the_whole_list_is_public():
    assert len(UNARY) == 19
    assert all(hasattr(sigjax, name) for name in JOINT)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("value", [1j, np.complex64(1), jnp.zeros(3, jnp.complex64)])
def test_complex_is_refused(name, value):
    with pytest.raises(TypeError, match=r"sigjax\.\w+: argument '[xpy]' must be real, got dtype c"):
        getattr(sigjax, name)(value)


# Run where these tests' own type checks do not come first.
_REFUSALS = """
import sigjax
for name in {names}:
    for value in ("1", None, [1.0, 2.0], dict(x=1.0)):
        try:
            getattr(sigjax, name)(value)
        except TypeError as error:
            expected = f"must be a real number or array, got {{type(value).__name__}}"
            assert str(error).startswith(f"sigjax.") and expected in str(error), error
        else:
            raise AssertionError((name, value))
for order in (1.0, True, "1", None):
    try:
        sigjax.sigmoid_derivative(0.0, order)
    except TypeError as error:
        assert f"'order' must be an integer, got {{type(order).__name__}}" in str(error), error
    else:
        raise AssertionError(order)
"""


def test_what_is_no_number_is_refused():
    script = _REFUSALS.format(names=UNARY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", JOINT)
def test_joint_arguments_are_named_in_errors(name):
    function, count = getattr(sigjax, name), JOINT[name]
    values = [0.25, 0.0, 1.0][:count]
    for position in range(count - (count == 3) * 2):
        with pytest.raises(TypeError, match="must be real"):
            function(*[1j if i == position else v for i, v in enumerate(values)])
    shapes = [jnp.zeros(3), jnp.full(4, 0.5), jnp.ones(4)][:count]
    with pytest.raises(ValueError, match=rf"sigjax\.{name}: .*broadcast together, got \w+ \(3,\)"):
        function(*shapes)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", [n for n in UNARY if not n.startswith("sigmoid_linear")])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_shape_and_dtype_are_kept(name, dtype):
    x = jnp.full((2, 0, 3), 0.5, dtype)
    assert getattr(sigjax, name)(x).shape == (2, 0, 3)
    assert getattr(sigjax, name)(x).dtype == x.dtype
    assert jax.grad(lambda v: getattr(sigjax, name)(v))(jnp.asarray(0.5, dtype)).dtype == x.dtype


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_8_bit_is_rounded_once_from_float32(dtype):
    x = jnp.linspace(-3, 3, 13).astype(dtype)
    expected = sigjax.sigmoid(x.astype(jnp.float32)).astype(dtype)
    np.testing.assert_array_equal(
        np.asarray(sigjax.sigmoid(x), np.float32), np.asarray(expected, np.float32)
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_faithful_changes_nothing_in_16_bits(dtype):
    x = np.linspace(-30, 30, 1001).astype(jnp.dtype(dtype))
    for function in (sigjax.sigmoid, sigjax.silu, sigjax.softplus):
        np.testing.assert_array_equal(function(x, faithful=True), function(x))


def test_faithful_float64_is_refused():
    with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match=r"sigmoid: argument 'faithful' must be False for float64"),
    ):
        sigjax.sigmoid(np.float64(0), faithful=True)


def test_joint_promotion_is_that_of_jax_numpy():
    cases = [(1, 2.0), (jnp.int32(1), jnp.float32(2)), (1.0, jnp.bfloat16(2)), (True, 3)]
    with jax.numpy_dtype_promotion("standard"):
        for a, b in cases:
            ours, theirs = sigjax.logaddexp(a, b), jnp.logaddexp(a, b)
            assert (ours.dtype, ours.weak_type) == (theirs.dtype, theirs.weak_type), (a, b)


def test_strict_promotion_is_left_strict():
    with pytest.raises(jax.dtypes.TypePromotionError, match="no available implicit dtype"):
        sigjax.logaddexp(jnp.float32(1), jnp.bfloat16(1))
