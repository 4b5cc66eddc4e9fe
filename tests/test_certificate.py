"""The committed certificate describes the code that is here."""

import json
from pathlib import Path

import jaxlib
import numpy as np
import pytest

from experiments.functions.accuracy import ORDERS
from experiments.oracle import bounds, subjects
from experiments.oracle.judge import errors

CERTIFICATE = json.loads(
    (Path(__file__).parents[1] / "certificates" / "float32-cpu.json").read_text("utf-8")
)
CELLS = [(name, order) for name in CERTIFICATE["errors"] for order in range(3)]


def test_every_number_was_tried_on_clean_code():
    assert CERTIFICATE["inputs_of_each_function"] == 2**32
    assert CERTIFICATE["wrong_zero_infinity_or_nan"] == 0
    assert CERTIFICATE["dirty"] is False
    assert {"sigmoid", "log_sigmoid", "softplus", "silu", "logit"} == set(CERTIFICATE["errors"])


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_the_worst_input_errs_as_recorded(name, order):
    cell = CERTIFICATE["errors"][name][ORDERS[order]]
    assert cell["largest_error_ulp"] <= bounds.FLOAT32_ULP[order]
    x = np.full(4096, cell["at"], np.float32)
    found = errors(name, order, x, subjects.evaluate("sigjax", name, order, x)).ulp
    if jaxlib.__version__ == CERTIFICATE["versions"]["jaxlib"]:
        np.testing.assert_allclose(found, cell["largest_error_ulp"], atol=1e-4)
    assert np.all(found <= bounds.FLOAT32_ULP[order])
