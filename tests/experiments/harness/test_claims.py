"""Verdicts follow from the numbers."""

import json
import math

import pytest

from experiments.harness import Claim, reported
from experiments.harness.table import format_claims, format_counts


def claim(expected, measured, **fields):
    return Claim("name", "source", expected, measured, **({"kind": "exact"} | fields))


@pytest.mark.parametrize(
    ("expected", "measured", "fields", "answer"),
    [
        (1.0, 1.0, {}, "holds"),
        (1.0, 1.05, {"tolerance": 0.1}, "holds"),
        (1.0, 1.15, {"tolerance": 0.1}, "fails"),
        (20.0, 21.0, {"tolerance": 0.1, "relative": True}, "holds"),
        (2.5, 2.4, {"relation": "<="}, "holds"),
        (2.5, 2.6, {"relation": "<="}, "fails"),
        (2.5, 2.6, {"relation": "<=", "tolerance": 0.2}, "holds"),
        (2.5, 2.6, {"relation": ">="}, "holds"),
        (1.0, math.nan, {"tolerance": 10.0}, "fails"),
        (1.0, math.nan, {"relation": "<="}, "fails"),
        (math.inf, math.inf, {}, "holds"),
    ],
)
def test_verdict(expected, measured, fields, answer):
    assert claim(expected, measured, **fields).verdict == answer


@pytest.mark.parametrize(
    ("measured", "fields", "answer"),
    [
        (math.nan, {}, "reported"),
        (0.9, {"aim": 0.9}, "reported"),
        (0.8, {"aim": 0.9}, "below its aim"),
        (1.0, {"aim": 1.1, "relation": "<="}, "reported"),
        (1.2, {"aim": 1.1, "relation": "<="}, "below its aim"),
        (math.nan, {"aim": 0.9}, "below its aim"),
    ],
)
def test_a_reported_number_neither_holds_nor_fails(measured, fields, answer):
    assert reported("name", "source", measured, **fields).verdict == answer


def test_a_claim_for_information_keeps_only_the_number():
    lost = claim(1.0, 2.0)
    assert lost.verdict == "fails"
    assert lost.for_information() == reported("name", "source", 2.0)


@pytest.mark.parametrize(
    "one",
    [
        claim(1.0, math.inf, tolerance=0.5, relative=True, relation="<="),
        reported("name", "source", -math.inf, aim=3.0),
        reported("name", "source", 0.25),
    ],
)
def test_claims_survive_json(one):
    text = json.dumps(one.to_json(), allow_nan=False)
    assert json.loads(text)["verdict"] == one.verdict
    assert Claim.from_json(json.loads(text)) == one


def test_lines_and_counts():
    claims = [
        claim(2.5, 2.4, relation="<=", tolerance=0.1, relative=True),
        claim(1.0, 2.0),
        reported("ratio", "aim of this project", 0.5, aim=0.9),
        reported("hours", "", 3.0),
    ]
    assert format_claims(claims).splitlines() == [
        "  ok    name: 2.4 (<= 2.5 within 0.1 of it; source)",
        "  FAIL  name: 2 (== 1; source)",
        "  below ratio: 0.5 (aim >= 0.9; aim of this project)",
        "  note  hours: 3",
    ]
    assert format_counts(one.verdict for one in claims) == (
        "1 holds, 1 fails, 1 is below its aim, 1 is reported"
    )
