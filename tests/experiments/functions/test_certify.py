"""The certification from end to end, on a sparse sample."""

import jax
import matplotlib.pyplot as plt
import pytest

from experiments.functions import certify
from experiments.harness.usage import UsageError

SPARSE = {"stride": 2**19 + 1, "functions": ("sigmoid",)}


@pytest.fixture(scope="module")
def dataset():
    return certify.measure(certify.Config(**SPARSE), jax.random.key(0))


def test_every_exponent_of_both_signs_is_tried(dataset):
    assert dataset.sizes["exponent"] == 512
    assert int(dataset["tried"].sum()) == -(-(2**32) // SPARSE["stride"])
    assert int(dataset["tried"].min()) >= 15


def test_claims_hold_for_sigjax_and_fail_for_jax(dataset):
    assert {claim.verdict for claim in certify.claims(dataset)} == {"holds"}
    theirs = certify.measure(certify.Config(library="jax", **SPARSE), jax.random.key(0))
    failing = [claim.name for claim in certify.claims(theirs) if claim.verdict == "fails"]
    assert any(name.startswith("sigmoid, first derivative") for name in failing)
    assert any(name.startswith("results that are 0") for name in failing)


def test_figure_and_table(dataset):
    figure = certify.plot(dataset)
    assert len(figure.axes) == 3
    plt.close(figure)
    assert certify.table(dataset).splitlines()[2].startswith("| sigmoid | ")


@pytest.mark.parametrize("fields", [{"stride": 0}, {"library": "numpy"}, {"functions": ("tan",)}])
def test_a_bad_configuration_is_refused(fields):
    with pytest.raises(UsageError, match=f"--{next(iter(fields))} must be"):
        certify.Config(**fields)
