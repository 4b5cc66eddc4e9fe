"""Every form that is replaced, against mpmath; and what only looks like one."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

import sigjax
from sigjax import stabilize

POINTS = np.array([-80, -30, -8, -3, -0.4, 0.1, 2, 5, 17, 40, 80], np.float32)


def log_sigmoid(x):
    return -mpmath.log1p(mpmath.exp(-x))


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def softplus(x):
    return mpmath.log1p(mpmath.exp(x))


FORMS = {
    "jax.nn.sigmoid": (jax.nn.sigmoid, sigmoid),
    "lax.logistic": (lax.logistic, sigmoid),
    "jax.nn.softplus": (jax.nn.softplus, softplus),
    "jax.nn.log_sigmoid": (jax.nn.log_sigmoid, log_sigmoid),
    "jax.nn.silu": (jax.nn.silu, lambda x: x * sigmoid(x)),
    "gate times argument": (lambda x: jax.nn.sigmoid(x) * x, lambda x: x * sigmoid(x)),
    "1 / (1 + exp(-x))": (lambda x: 1 / (1 + jnp.exp(-x)), sigmoid),
    "1 / (exp(x) + 1)": (lambda x: 1 / (jnp.exp(x) + 1), lambda x: sigmoid(-x)),
    "exp(x) / (1 + exp(x))": (lambda x: jnp.exp(x) / (1 + jnp.exp(x)), sigmoid),
    "log1p(exp(x))": (lambda x: jnp.log1p(jnp.exp(x)), softplus),
    "log(1 + exp(x))": (lambda x: jnp.log(1 + jnp.exp(x)), softplus),
    "log(sigmoid(x))": (lambda x: jnp.log(jax.nn.sigmoid(x)), log_sigmoid),
    "log(1 - sigmoid(x))": (lambda x: jnp.log(1 - jax.nn.sigmoid(x)), lambda x: -softplus(x)),
    "log1p(-sigmoid(x))": (lambda x: jnp.log1p(-jax.nn.sigmoid(x)), lambda x: -softplus(x)),
    "max(x, 0) + log1p(exp(-|x|))": (
        lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
        softplus,
    ),
    "logaddexp(x, 0)": (lambda x: jnp.logaddexp(x, 0.0), softplus),
    "logaddexp(2, x)": (
        lambda x: jnp.logaddexp(jnp.full_like(x, 2.0), x),
        lambda x: mpmath.log(mpmath.exp(2) + mpmath.exp(x)),
    ),
}


def truth(function, order, dtype=np.float64):
    with mpmath.workdps(60):
        return np.array([float(mpmath.diff(function, float(x), order)) for x in POINTS], dtype)


def assert_within_ulps(found, expected, ulps):
    smallest = np.finfo(np.float32).smallest_normal
    spacing = np.spacing(np.maximum(np.abs(expected), smallest).astype(np.float32))
    np.testing.assert_array_less(np.abs(np.asarray(found, np.float64) - expected), ulps * spacing)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", FORMS)
def test_values_and_derivatives_are_right(name):
    form, exact = FORMS[name]
    stable = stabilize(form)
    assert_within_ulps(jax.jit(stable)(POINTS), truth(exact, 0), 3)
    assert_within_ulps(jax.vmap(jax.grad(stable))(POINTS), truth(exact, 1), 4.5)
    # the second derivative of silu has roots, and a sum's has no relative bound next to one
    if "argument" not in name and "silu" not in name:
        hessian = jax.vmap(jax.grad(jax.grad(stable)))(POINTS)
        assert_within_ulps(hessian, truth(exact, 2), 7)


@pytest.mark.parametrize("name", ["jax.nn.sigmoid", "jax.nn.softplus", "jax.nn.log_sigmoid"])
def test_a_gradient_taken_inside_is_right_too(name):
    form, exact = FORMS[name]
    inside = stabilize(jax.vmap(jax.grad(form)))(POINTS)
    assert_within_ulps(inside, truth(exact, 1), 4.5)


def test_bfloat16_is_rounded_once():
    x = jnp.arange(-20, 20, 0.125, dtype=jnp.bfloat16)
    found = jax.vmap(jax.grad(stabilize(jax.nn.sigmoid)))(x)
    assert (found == jax.vmap(jax.grad(sigjax.sigmoid))(x)).all()
    assert (found > 0).all()
    assert not jax.vmap(jax.grad(jax.nn.sigmoid))(jnp.bfloat16(8.0)[None])[0] > 0


def straight_through(x):
    return jax.nn.sigmoid(x)


straight_through = jax.custom_jvp(straight_through)
straight_through.defjvp(lambda primals, tangents: (straight_through(*primals), tangents[0]))

UNCHANGED = {
    "1 - sigmoid(x)": (lambda x: 1 - jax.nn.sigmoid(x)),
    "2 - sigmoid(x)": (lambda x: 2 - lax.logistic(x) * 0),
    "log1p(exp(x) twice)": (lambda x: jnp.log1p(jnp.exp(x) + jnp.exp(x))),
    "log(2 + exp(x))": (lambda x: jnp.log(2 + jnp.exp(x))),
    "another gate's argument": (lambda x: (x + 1) * lax.logistic(x)),
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_is_no_form_keeps_its_bits(name):
    form = UNCHANGED[name]
    x = jnp.asarray(POINTS / 4)
    np.testing.assert_array_equal(stabilize(form)(x), jax.jit(form)(x))


def test_a_derivative_that_somebody_wrote_is_theirs():
    assert jax.grad(stabilize(straight_through))(3.0) == 1.0


def test_complex_logistic_is_left_alone():
    z = jnp.array([0.3 + 1.0j], jnp.complex64)
    np.testing.assert_array_equal(stabilize(lax.logistic)(z), lax.logistic(z))


def test_sigjax_is_not_rewritten():
    def loss(x):
        return sigjax.softplus(x) + sigjax.log_sigmoid(x) * sigjax.sigmoid(x)

    x = jnp.asarray(POINTS)
    once = jax.make_jaxpr(loss)(x)
    assert str(jax.make_jaxpr(stabilize(loss))(x)) == str(once)
    twice = jax.make_jaxpr(stabilize(stabilize(jax.nn.softplus)))(x)
    assert str(twice) == str(jax.make_jaxpr(stabilize(jax.nn.softplus))(x))
