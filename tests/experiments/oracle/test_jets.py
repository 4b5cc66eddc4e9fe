"""Jets against numerical derivatives of the plain definitions, with digits to spare."""

import mpmath as mp
import pytest

from experiments.oracle import jets
from experiments.oracle.partials import multi_indices


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


# with jets, with mpmath, a point
CASES = {
    "arithmetic": (
        lambda x, y: (2 - x) * y / (1 + x * x) - 1 / y + 3,
        lambda x, y: (2 - x) * y / (1 + x * x) - 1 / y + 3,
        (0.7, -1.3),
    ),
    "functions of one variable": (
        lambda x, y, z: jets.exp(x * y) + jets.log(y) * jets.log1p(z) + jets.reciprocal(x + z),
        lambda x, y, z: mp.exp(x * y) + mp.log(y) * mp.log1p(z) + 1 / (x + z),
        (-0.6, 1.9, 0.4),
    ),
    "the family, left": (
        lambda x, y: jets.sigmoid(x) * jets.softplus(x * y) + jets.log1mexp(y),
        lambda x, y: _sigmoid(x) * mp.log(1 + mp.exp(x * y)) + mp.log(1 - mp.exp(-y)),
        (-1.7, 0.8),
    ),
    "the family, right": (
        lambda x, y: jets.sigmoid(x) * jets.softplus(x * y) + jets.log1mexp(y) - jets.log_cosh(y),
        lambda x, y: (
            _sigmoid(x) * mp.log(1 + mp.exp(x * y)) + mp.log(1 - mp.exp(-y)) - mp.log(mp.cosh(y))
        ),
        (2.2, 3.1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_partial_derivatives(name):
    with_jets, definition, point = CASES[name]
    with mp.workdps(60):
        found = with_jets(*jets.variables(point))
        for orders in multi_indices(len(point)):
            expected = mp.diff(definition, tuple(map(mp.mpf, point)), orders, h=mp.mpf(10) ** -15)
            assert mp.almosteq(found.partial(orders), expected, rel_eps=1e-12, abs_eps=1e-14), (
                orders
            )


def test_definitions_choose_by_value():
    x, y = jets.variables((1.0, 2.0))
    assert x < y
    assert y > x
    assert x <= 1
    assert not y <= 1
    with mp.workdps(60):
        assert jets.sigmoid(0) == 0.5
