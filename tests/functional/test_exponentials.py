"""The building blocks against mpmath, at their ends and in between."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from sigjax.functional import _exponentials as blocks
from sigjax.functional._root import LOG_2, ONE_LESS_1_OVER_E

FORMATS = {"float32": (24, 87.3, np.float32), "float64": (53, 708.3, np.float64)}


def errors_in_ulp(dtype, result, exact):
    precision = FORMATS[dtype][0]
    worst = 0.0
    for found, truth in zip(np.ravel(result).tolist(), exact, strict=True):
        unit = mp.mpf(2) ** (mp.frexp(truth)[1] - precision) if truth else mp.mpf(2) ** -140
        worst = max(worst, float(abs(mp.mpf(found) - truth) / unit))
    return worst


@pytest.mark.parametrize("dtype", FORMATS)
class TestAgainstMpmath:
    @pytest.fixture(autouse=True)
    def precision(self):
        with jax.enable_x64(True), mp.workdps(50):
            yield

    def arguments(self, dtype, low, high, count=600):
        generator = np.random.default_rng(0)
        spread = np.append(generator.uniform(low, high, count), [low, high])
        return jnp.asarray(spread, dtype)

    def test_decay(self, dtype):
        x = self.arguments(dtype, 0, FORMATS[dtype][1])
        exact = [mp.exp(-mp.mpf(v)) for v in x.tolist()]
        assert errors_in_ulp(dtype, blocks.decay(x).t, exact) < 1.1

    def test_complement_of_a_decay(self, dtype):
        x = jnp.concatenate([self.arguments(dtype, 0, 3), self.arguments(dtype, 0, 1e-3)])
        exact = [-mp.expm1(-mp.mpf(v)) for v in x.tolist()]
        assert errors_in_ulp(dtype, blocks.decay(x).complement(), exact) < 1.5

    def test_log1p_unit(self, dtype):
        t = self.arguments(dtype, 0, 1)
        exact = [mp.log1p(mp.mpf(v)) for v in t.tolist()]
        assert errors_in_ulp(dtype, blocks.log1p_unit(t), exact) < 1.5

    def test_two_atanh_half(self, dtype):
        z = self.arguments(dtype, -0.6666666, 0.6666666)
        exact = [2 * mp.atanh(mp.mpf(v) / 2) for v in z.tolist()]
        assert errors_in_ulp(dtype, blocks.two_atanh_half(z), exact) < 1.1

    def test_exp_in_two_has_more_digits_than_one(self, dtype):
        x = self.arguments(dtype, -20, 4.8)
        value, rest = map(np.asarray, blocks.exp_in_two(x))
        sums = [mp.mpf(a) + mp.mpf(b) for a, b in zip(value.tolist(), rest.tolist(), strict=True)]
        exact = [mp.exp(mp.mpf(v)) for v in x.tolist()]
        assert errors_in_ulp(dtype, value, exact) < 1.1
        worst = max(abs(s / e - 1) for s, e in zip(sums, exact, strict=True))
        assert worst < mp.mpf(2) ** (-FORMATS[dtype][0] - 1.5)

    def test_roots_are_split_exactly(self, dtype):
        for root, exact in ((LOG_2, mp.log(2)), (ONE_LESS_1_OVER_E, 1 - mp.exp(-1))):
            nearest = FORMATS[dtype][2](root.high)
            d, rest = root.difference(jnp.asarray(nearest))
            difference = mp.mpf(float(d)) - mp.mpf(float(rest))
            assert abs(difference - (mp.mpf(float(nearest)) - exact)) < 1e-24


def test_log_of_a_subnormal_number():
    x = np.float32([1e-45, 1e-40, 1.1e-38, 0.0])
    expected = [*np.log(x[:3].astype(np.float64)), -np.inf]
    np.testing.assert_allclose(blocks.log_of(jnp.asarray(x)), expected, rtol=1e-7)


def test_horner():
    np.testing.assert_array_equal(blocks.horner((1.0, -2.0, 3.0), jnp.array([0.0, 2.0])), [3, 3])
