"""The committed certificates are whole, and that of this backend describes the code here."""

import json
from pathlib import Path

import jax
import jaxlib
import numpy as np
import pytest

from experiments.functions.accuracy import ORDERS
from experiments.oracle import bounds, subjects
from experiments.oracle.judge import errors

pytestmark = pytest.mark.usefixtures("optimized")

FOLDER = Path(__file__).parents[1] / "certificates"
CERTIFICATES = {
    path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
}
CERTIFICATE = CERTIFICATES[f"float32-{jax.default_backend()}"]
CELLS = [(name, order) for name in CERTIFICATE["errors"] for order in range(3)]


@pytest.mark.parametrize("name", CERTIFICATES)
def test_every_number_was_tried_on_clean_code(name):
    certificate = CERTIFICATES[name]
    assert name == f"float32-{certificate['backend']}"
    assert certificate["inputs_of_each_function"] == 2**32
    assert certificate["wrong_zero_infinity_or_nan"] == 0
    assert certificate["dirty"] is False
    assert {"sigmoid", "log_sigmoid", "softplus", "silu", "logit"} == set(certificate["errors"])


@pytest.mark.parametrize(("name", "order"), CELLS)
def test_the_worst_input_errs_as_recorded(name, order):
    cell = CERTIFICATE["errors"][name][ORDERS[order]]
    x = np.full(4096, cell["at"], np.float32)
    found = errors(name, order, x, subjects.evaluate("sigjax", name, order, x)).ulp
    if jaxlib.__version__ == CERTIFICATE["versions"]["jaxlib"]:
        np.testing.assert_allclose(found, cell["largest_error_ulp"], atol=1e-4)
    if jax.default_backend() == "cpu":  # nothing is promised elsewhere
        assert cell["largest_error_ulp"] <= bounds.FLOAT32_ULP[order]
        assert np.all(found <= bounds.FLOAT32_ULP[order])
