"""Forms whose parts are reshaped, indexed, joined, chosen, cast or compiled apart, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import sigjax
from sigjax import StabilizeWarning, stabilize

X = np.array([[-30.0, -3.0, 0.5, 2.0], [17.0, 20.0, 40.0, 80.0], [-80.0, -17.0, 1.0, 3.0]])
x = jnp.asarray(X, jnp.float32)
sigmoid = jax.nn.sigmoid
rows = jnp.array([0, 1, 1, -1])
y = np.array([[0, 1, 0, 1]] * 3, bool)


def log_p(x):
    return -np.log1p(np.exp(-x))


def log_q(x):
    return -np.log1p(np.exp(x))


compiled = jax.jit(lambda x: sigmoid(x * 1 + 0))
cross_entropy = jax.jit(lambda p, y: jnp.log(jnp.where(y, p, 1 - p)))
chosen = np.where(y, log_p(X), log_q(X))


def with_p(function):
    return lambda x: function(sigmoid(x))


def per_row(row, index):
    return jnp.log(1 - sigmoid(row)[index])


SHAPES = {
    "squeeze": (lambda x: jnp.log(1 - sigmoid(x[..., None]).squeeze(-1)), log_q(X)),
    "expand_dims": (with_p(lambda p: jnp.log(1 - p[:, None])), log_q(X)[:, None]),
    "reshape": (with_p(lambda p: jnp.log(1 - p.reshape(-1))), log_q(X).reshape(-1)),
    "transpose": (with_p(lambda p: jnp.log1p(-p.T)), log_q(X).T),
    "swapaxes": (with_p(lambda p: jnp.log(1 - p[None].swapaxes(0, 2))), log_q(X).T[..., None]),
    "reverse": (with_p(lambda p: jnp.log1p(-p[::-1])), log_q(X)[::-1]),
    "broadcast": (
        with_p(lambda p: jnp.log(1 - jnp.broadcast_to(p, (2, 3, 4)))),
        np.broadcast_to(log_q(X), (2, 3, 4)),
    ),
    "a column": (with_p(lambda p: jnp.log(p[:, 0])), log_p(X)[:, 0]),
    "a row of the complement": (with_p(lambda p: jnp.log((1 - p)[1])), log_q(X)[1]),
    "a scalar": (with_p(lambda p: jnp.log((1 - p)[1, 2])), log_q(X)[1, 2]),
    "gather": (with_p(lambda p: jnp.log((1 - p)[rows])), log_q(X)[np.array(rows)]),
    "take": (with_p(lambda p: jnp.log(jnp.take(1 - p, rows, 0))), log_q(X)[np.array(rows)]),
    "dynamic_slice": (
        with_p(lambda p: jnp.log(1 - lax.dynamic_slice(p, (rows[1], rows[0]), (2, 2)))),
        log_q(X)[1:, :2],
    ),
    "split": (with_p(lambda p: jnp.log(1 - jnp.split(p, 2, 1)[1])), log_q(X)[:, 2:]),
    "vmap": (lambda x: jax.vmap(per_row)(x, rows[:3]), log_q(X)[np.arange(3), np.array(rows[:3])]),
    "concatenate": (
        with_p(lambda p: jnp.log(jnp.concatenate([p, 1 - p], -1))),
        np.concatenate([log_p(X), log_q(X)], -1),
    ),
    "stack, then take": (
        with_p(lambda p: jnp.log(jnp.stack([1 - p, p], -1)[..., 0])),
        log_q(X),
    ),
    "where": (with_p(lambda p: jnp.log(jnp.where(y, p, 1 - p))), chosen),
    "1 - where": (with_p(lambda p: jnp.log(1 - jnp.where(y, 1 - p, p))), chosen),
    "select": (
        with_p(lambda p: jnp.log(jnp.select([y, x > 0], [p, 1 - p], 1.0))),
        np.where(y, log_p(X), np.where(X > 0, log_q(X), 0)),
    ),
    "where, of something else too": (
        lambda x: jnp.log(jnp.where(y, sigmoid(x), abs(x) + 1)),
        np.where(y, log_p(X), np.log(abs(X) + 1)),
    ),
    "where in concatenate, reversed": (
        lambda x: jnp.log(jnp.concatenate([jnp.where(y, sigmoid(x), 1 - sigmoid(x)), x * x])[::-1]),
        np.concatenate([chosen, np.log(X * X)])[::-1],
    ),
    "a reciprocal": (lambda x: jnp.log(1 - (1 / (1 + jnp.exp(-x))).T), log_q(X).T),
    "1 + exp": (lambda x: jnp.log(1 + jnp.exp(x)[:, 0]), -log_q(X)[:, 0]),
    "log1p of exp": (lambda x: jnp.log1p(jnp.exp(x).T), -log_q(X).T),
    "1 / (1 + exp)": (lambda x: 1 / (1 + jnp.exp(-x).T), np.exp(log_p(X)).T),
    "silu": (lambda x: x.reshape(-1) * sigmoid(x).reshape(-1), (X * np.exp(log_p(X))).reshape(-1)),
    "sigjax's own sigmoid": (lambda x: jnp.log(sigjax.sigmoid(x)[0]), log_p(X)[0]),
    "stop_gradient": (with_p(lambda p: jnp.log(1 - lax.stop_gradient(p))), log_q(X)),
    "compiled, argument inside": (lambda x: jnp.log(1 - compiled(x)[..., 0]), log_q(X)[..., 0]),
    "compiled twice": (lambda x: jnp.log(1 - jax.jit(lambda x: compiled(2 * x / 2))(x)), log_q(X)),
    "checkpoint": (lambda x: jnp.log(1 - jax.checkpoint(compiled)(x)), log_q(X)),
    "compiled loss": (lambda x: cross_entropy(compiled(x).T, y.T), chosen.T),
    "narrowed and widened": (
        with_p(lambda p: jnp.log(1 - p.astype(jnp.bfloat16).astype(jnp.float32))),
        log_q(X),
    ),
}


@pytest.fixture(scope="module")
def found():
    """Values and gradients of all, taken outside and inside, in one program each."""

    def values(x):
        return {name: stabilize(form)(x) for name, (form, _) in SHAPES.items()}

    def gradients(order):
        return lambda x: {name: order(form)(x) for name, (form, _) in SHAPES.items()}

    def outside(form):
        return jax.grad(lambda x: stabilize(form)(x).sum())

    def inside(form):
        return stabilize(jax.grad(lambda x: form(x).sum()))

    return [jax.jit(f)(x) for f in (values, gradients(outside), gradients(inside))]


@pytest.mark.parametrize("name", SHAPES)
def test_a_change_of_layout_hides_no_sigmoid(name, found):
    values, outside, inside = (result[name] for result in found)
    expected = SHAPES[name][1]
    # 3 ulp of float32, relative or of its smallest normal number
    np.testing.assert_allclose(values, expected, rtol=3.6e-7, atol=1e-37)
    assert jnp.isfinite(outside).all()
    # first derivatives through a bfloat16 number are as good as bfloat16
    tolerance = 5e-3 if name == "narrowed and widened" else 1e-6
    np.testing.assert_allclose(inside, outside, rtol=tolerance, atol=1e-7)


def test_a_branch_that_is_not_taken_has_no_gradient():
    def function(x):
        return jnp.log(jnp.where(x > 0, sigmoid(x), -x)).sum()

    slope = jax.grad(stabilize(function))(jnp.array([-2.0, 0.0, 5.0]))
    np.testing.assert_allclose(slope[::2], [-0.5, 1 / (1 + np.exp(5.0))], rtol=1e-6)


def test_casts_compute_in_the_wider_format():
    narrow = x.astype(jnp.bfloat16)
    wide = stabilize(lambda x: jnp.log(1 - sigmoid(x).astype(jnp.float32)))(narrow)
    np.testing.assert_array_equal(wide, sigjax.log1m_sigmoid(narrow.astype(jnp.float32)))
    rounded = stabilize(lambda x: jnp.log(1 - sigmoid(x).astype(jnp.bfloat16)))(x)
    np.testing.assert_array_equal(rounded, sigjax.log1m_sigmoid(x).astype(jnp.bfloat16))


def test_a_replacement_is_one_equation():
    def function(x):
        return jnp.log(1 - sigmoid(x).squeeze(-1))

    jaxpr = jax.make_jaxpr(stabilize(function))(x[..., :1])
    assert [eqn.params["name"] for eqn in jaxpr.eqns] == ["log1m_sigmoid"]


@jax.custom_jvp
def somebodys(x):
    return sigmoid(x)


somebodys.defjvp(lambda primals, tangents: (somebodys(*primals), tangents[0]))

BLOCKED = {
    "a clip": with_p(lambda p: jnp.log(jnp.clip(p, 1e-7, 1 - 1e-7))),
    "clip, of the complement": with_p(lambda p: jnp.log(1 - jnp.clip(p, 1e-7, 1 - 1e-7))),
    "clip, in log1p": with_p(lambda p: jnp.log1p(-jnp.clip(p, 1e-7, 1 - 1e-7).T)),
    "(`max`)": with_p(lambda p: jnp.log(jnp.maximum(1 - p, 1e-12))),
    "an offset": with_p(lambda p: jnp.log(p + 1e-8)),
    "offset, of the complement": with_p(lambda p: jnp.log(1 + 1e-6 - p)),
    "clip, then where": with_p(lambda p: jnp.log(jnp.where(y, jnp.clip(p, 0.01), 0.5))),
    "`scan`": lambda x: jnp.log(1 - lax.scan(lambda c, r: (c, sigmoid(r)), 0.0, x)[1]),
    "`cond`": lambda x: jnp.log(1 - lax.cond(x[0, 0] > 0, sigmoid, jnp.cos, x)),
    "`custom_jvp_call`": lambda x: jnp.log(1 - somebodys(x)),
    "`pad`": with_p(lambda p: jnp.log(jnp.pad(p, 1, constant_values=0.5))),
    "`convert_element_type`": with_p(
        lambda p: jnp.log(p.astype(jnp.float8_e4m3fn).astype(jnp.float32))
    ),
}


@pytest.mark.parametrize("name", BLOCKED)
def test_what_stands_between_is_named(name):
    form = BLOCKED[name]
    with pytest.warns(StabilizeWarning) as warned:
        stable = jax.make_jaxpr(stabilize(form))(x)
    (warning,) = warned
    assert name.split(",")[0] in str(warning.message)
    assert warning.filename == __file__
    assert f"{__file__}:{warning.lineno}" in str(warning.message)
    primitives = [eqn.primitive.name for eqn in stable.eqns]
    assert primitives[-1] in ("log", "log1p")


NO_FORM = {
    "log(1 + p)": lambda p: jnp.log(1 + p),
    "log1p(clip(p))": lambda p: jnp.log1p(jnp.clip(p, 0.1, 0.9)),
    "a mixture": lambda p: jnp.log(0.9 * p + 0.05),
    "log(2 - p)": lambda p: jnp.log(2 - p),
    "a mean": lambda p: jnp.log(p.mean(0)),
    "the larger of two": lambda p: jnp.log(jnp.maximum(p, jnp.sin(p))),
    "a fill value": lambda p: jnp.log(p.at[rows].get(mode="fill", fill_value=0.5) + 1),
}


@pytest.mark.slice
@pytest.mark.parametrize("name", NO_FORM)
def test_what_is_no_logarithm_of_a_sigmoid_stays_silently(name):
    form = with_p(NO_FORM[name])
    np.testing.assert_array_equal(jax.jit(stabilize(form))(x), jax.jit(form)(x))
