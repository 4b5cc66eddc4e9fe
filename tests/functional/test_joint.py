"""Functions of several arguments against mpmath, with their gradients."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import sigjax


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


# function: (definition in mpmath, arguments)
CASES = {
    "logaddexp": (
        lambda a, b: mp.log(mp.exp(a) + mp.exp(b)),
        [(0.5, 0.25), (90.0, -90.0), (-700.0, -701.0), (3.0, 3.0), (1e4, 1e4 - 20), (-0.7, -0.68)],
    ),
    "logsubexp": (
        lambda a, b: mp.log(mp.exp(a) - mp.exp(b)),
        [(0.5, 0.25), (90.0, -90.0), (-700.0, -701.0), (3.0, 2.999), (1e4, 1e4 - 20)],
    ),
    "log_sigmoid_diff": (
        lambda a, b: mp.log(_sigmoid(a) - _sigmoid(b)),
        [(0.5, 0.25), (50.0, -50.0), (51.0, 50.0), (-50.0, -51.0), (3.0, 2.999), (1.0, -80.0)],
    ),
    "bounded_sigmoid": (
        lambda x, low, high: low + (high - low) * _sigmoid(x),
        [(0.3, -1.0, 3.0), (-20.0, 0.0, 1.0), (20.0, 0.0, 1e-3), (2.0, 1.0, 1.5)],
    ),
    "bounded_logit": (
        lambda y, low, high: mp.log((y - low) / (high - y)),
        [(0.3, -1.0, 3.0), (1e-8, 0.0, 1.0), (0.500001, 0.0, 1.0), (1.25, 1.0, 1.5)],
    ),
    "bounded_sigmoid_log_det": (
        lambda x, low, high: mp.log((high - low) * _sigmoid(x) * _sigmoid(-x)),
        [(0.3, -1.0, 3.0), (-60.0, 0.0, 2.0), (60.0, 0.0, 0.5)],
    ),
    "soft_switch": (
        lambda x, on, off: _sigmoid(x) * on + _sigmoid(-x) * off,
        [(0.3, -1.0, 3.0), (-30.0, 2.0, 0.0), (30.0, 0.0, 2.0)],
    ),
}
ALL = [(name, arguments) for name, (_, table) in CASES.items() for arguments in table]


def scale(arguments, exact):
    """Errors are in units of the largest number that takes part."""
    return max(abs(exact), *(abs(v) for v in arguments), 1e-30)


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_value(name, arguments):
    with mp.workdps(60), jax.enable_x64(True):
        exact = float(CASES[name][0](*map(mp.mpf, arguments)))
        result = float(getattr(sigjax, name)(*map(np.float64, arguments)))
        tight = name in ("log_sigmoid_diff", "bounded_logit")
        size = abs(exact) if tight else scale(arguments, exact)
        assert abs(result - exact) <= 2e-15 * size


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_gradient(name, arguments):
    definition = CASES[name][0]
    every = tuple(range(len(arguments)))
    with mp.workdps(80), jax.enable_x64(True):
        gradient = jax.grad(getattr(sigjax, name), every)(*map(np.float64, arguments))
        for i, slope in enumerate(gradient):
            orders = tuple(int(i == j) for j in every)
            exact = mp.diff(definition, tuple(map(mp.mpf, arguments)), orders, h=mp.mpf(10) ** -30)
            # a difference of two weights times two values cancels as the values do
            size = max(abs(exact), mp.mpf(10) ** -20)
            assert abs(mp.mpf(float(slope)) - exact) <= 5e-14 * size, (i, slope, exact)


@pytest.mark.parametrize(("name", "arguments"), ALL)
def test_bfloat16_is_rounded_once(name, arguments):
    given = [jnp.asarray(v, jnp.bfloat16) for v in arguments]
    result = getattr(sigjax, name)(*given)
    wide = getattr(sigjax, name)(*(v.astype(jnp.float32) for v in given))
    assert result.dtype == jnp.bfloat16
    assert result == wide.astype(jnp.bfloat16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logsubexp_next_to_its_root_errs_by_less_than_a_place_of_its_larger_term(dtype):
    a = np.random.default_rng(0).uniform(0.05, 14, 600).astype(dtype)
    b = (a + np.log1p(-np.exp(-a.astype(np.float64)))).astype(dtype)
    with mp.workdps(60), jax.enable_x64(True):
        found = np.asarray(sigjax.logsubexp(a, b))
        for x, y, z in zip(a, b, found, strict=True):
            exact = CASES["logsubexp"][0](mp.mpf(float(x)), mp.mpf(float(y)))
            place = np.spacing(dtype(max(x, abs(exact - x))))
            assert abs(mp.mpf(float(z)) - exact) <= 0.9 * place, (x, y)


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("logaddexp", (INF, INF), INF),
        ("logaddexp", (-INF, -INF), -INF),
        ("logaddexp", (INF, -INF), INF),
        ("logaddexp", (-INF, 1.5), 1.5),
        ("logaddexp", (NAN, 1.0), NAN),
        ("logsubexp", (1.0, 1.0), -INF),
        ("logsubexp", (1.0, -INF), 1.0),
        ("logsubexp", (-INF, -INF), -INF),
        ("logsubexp", (1.0, 2.0), NAN),
        ("log_sigmoid_diff", (1.0, 1.0), -INF),
        ("log_sigmoid_diff", (INF, -INF), 0.0),
        ("log_sigmoid_diff", (1.0, 2.0), NAN),
        ("bounded_sigmoid", (-INF, 2.0, 5.0), 2.0),
        ("bounded_sigmoid", (INF, 2.0, 5.0), 5.0),
        ("bounded_logit", (2.0, 2.0, 5.0), -INF),
        ("bounded_logit", (5.0, 2.0, 5.0), INF),
        ("bounded_logit", (6.0, 2.0, 5.0), NAN),
        ("bounded_logit", (3.5, 2.0, 5.0), 0.0),
        ("bounded_sigmoid_log_det", (INF, 0.0, 1.0), -INF),
        ("soft_switch", (INF, 2.0, 7.0), 2.0),
        ("soft_switch", (-INF, 2.0, 7.0), 7.0),
    ],
)
def test_limits(name, arguments, expected):
    np.testing.assert_array_equal(float(getattr(sigjax, name)(*arguments)), expected)


@pytest.mark.parametrize("ends", [(-INF, -INF), (INF, INF)])
def test_logaddexp_shares_the_gradient_of_equal_infinities(ends):
    assert jax.grad(sigjax.logaddexp, (0, 1))(*ends) == (0.5, 0.5)


@pytest.mark.parametrize("name", ["bounded_sigmoid", "bounded_logit", "bounded_sigmoid_log_det"])
@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, INF), (NAN, 1.0)])
def test_wrong_bounds_are_named(name, low, high):
    with pytest.raises(ValueError, match=rf"{name}: arguments 'low' and 'high'.*got low={low}"):
        getattr(sigjax, name)(0.5, low, high)


def test_bounds_may_be_traced():
    result = jax.jit(sigjax.bounded_sigmoid)(0.0, -1.0, 3.0)
    assert result == 1.0
