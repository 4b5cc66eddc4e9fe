"""Verdicts follow from the numbers."""

import math

import pytest

from experiments.harness import Claim


def verdict(expected, measured, tolerance=0.0, **fields):
    fields = {"kind": "exact"} | fields
    return Claim("name", "source", expected, measured, tolerance, **fields).verdict


@pytest.mark.parametrize(
    ("expected", "measured", "fields", "answer"),
    [
        (1.0, 1.05, {"tolerance": 0.1}, "holds"),
        (1.0, 1.15, {"tolerance": 0.1}, "fails"),
        (20.0, 21.0, {"tolerance": 0.1, "relative": True}, "holds"),
        (2.5, 2.4, {"relation": "<="}, "holds"),
        (2.5, 2.6, {"relation": "<="}, "fails"),
        (2.5, 2.6, {"relation": ">="}, "holds"),
        (1.0, math.nan, {"tolerance": 10.0}, "fails"),
        (1.0, math.nan, {"relation": "<="}, "fails"),
        (math.inf, math.inf, {}, "holds"),
        (1.0, 5.0, {"kind": "reported"}, None),
    ],
)
def test_verdict(expected, measured, fields, answer):
    assert verdict(expected, measured, **fields) == answer
