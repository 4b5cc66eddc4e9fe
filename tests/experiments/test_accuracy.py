"""The experiment on accuracy from end to end, on a few functions."""

import jax
import matplotlib.pyplot as plt
import pytest

from experiments import accuracy
from experiments.harness.refusal import Refusal


@pytest.fixture(scope="module")
def dataset():
    small = accuracy.Config(
        functions=("sigmoid", "logit"), float32_stride=65537, float64_tries=20, float64_rounds=1
    )
    return accuracy.measure(small, jax.random.key(0))


def test_claims_hold_for_sigjax_and_would_fail_for_jax(dataset):
    verdicts = {claim.name: claim.verdict for claim in accuracy.claims(dataset)}
    assert "fails" not in verdicts.values()
    assert len(verdicts) == 19
    swapped = dataset.assign_coords(
        library=["jax", "sigjax faithful", "sigjax"][: dataset.sizes["library"]]
    )
    assert any(claim.verdict == "fails" for claim in accuracy.claims(swapped))


def test_the_table_has_a_row_a_function_and_library(dataset):
    rows = accuracy.table(dataset).splitlines()[2:]
    assert len(rows) == 2 * dataset.sizes["library"]
    assert rows[0].startswith("| sigmoid | sigjax | 0.5000 / 0.4997 / 0.4993 |")


def test_every_panel_shows_every_library(dataset):
    figure = accuracy.plot(dataset)
    for axis in figure.axes:
        assert len(axis.lines) == dataset.sizes["library"] + 1
        assert axis.get_title()
    plt.close(figure)


def test_a_function_that_is_not_known_is_refused():
    with pytest.raises(Refusal, match="--functions must be some of"):
        accuracy.Config(functions=("sin",))
