"""The mpmath references: each derivative is the numerical derivative of the one before it."""

import mpmath as mp
import pytest

from experiments.oracle.reference import REFERENCES

UNIT, POSITIVE, REAL = (0.1, 0.45, 0.7, 0.99), (0.01, 0.6, 3.0, 40.0), (-30.0, -1.1, 0.3, 5.0, 60.0)
DOMAINS = {
    "logit": UNIT,
    "cloglog": UNIT,
    "log1mexp": POSITIVE,
    "softplus_inverse": POSITIVE,
    "logitexp": tuple(-x for x in POSITIVE),
    "logit1mexp": tuple(-x for x in POSITIVE),
    "cloglog_inverse": (-30.0, -1.1, 0.3, 3.0),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_derivatives_are_those_of_the_value(name):
    value, *derivatives = REFERENCES[name]
    with mp.workdps(100):
        for order, derivative in enumerate(derivatives, start=1):
            for x in DOMAINS.get(name, REAL):
                expected = mp.diff(value, mp.mpf(x), order)
                assert mp.almosteq(derivative(mp.mpf(x)), expected, rel_eps=1e-25, abs_eps=1e-60)


def test_values_against_closed_forms():
    with mp.workdps(30):
        tanh_1 = mp.mpf("0.76159415595576488811945828260479")  # OEIS A073744
        assert mp.almosteq(REFERENCES["tanh_from_sigmoid"][0](mp.mpf(1)), tanh_1, 1e-28)
        assert mp.almosteq(REFERENCES["softplus"][0](mp.mpf(0)), mp.log(2), 1e-28)
        assert mp.almosteq(REFERENCES["cloglog"][0](1 - mp.exp(-1)), 0, abs_eps=1e-28)
