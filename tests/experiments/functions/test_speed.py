"""The experiment on speed from end to end, on arrays too small to time."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.functions import _lightness as lightness
from experiments.functions import speed
from experiments.functions._speed_panels import light_ratios

pytestmark = pytest.mark.proof  # a small run of it takes half a minute


@pytest.fixture(scope="module")
def dataset():
    small = speed.Config(
        functions=("softplus",),
        sizes=(8, 32),
        rounds=2,
        rounds_in_memory=1,
        rounds_of_preparation=1,
    )
    return speed.measure(small, jax.random.key(0))


def test_every_contestant_is_timed(dataset):
    assert dataset["seconds"].sel(contestant=["sigjax", "sigjax faithful", "jax", "copy"]).min() > 0
    assert not dataset["form_ulp"].sel(order=0).isnull().any()
    assert float(dataset["form_ulp"].sel(form="compensated float32", order=0).max()) < 1


def test_claims_pass_no_verdict_and_come_from_the_times(dataset):
    claims = speed.claims(dataset)
    light = 2 * len(lightness.FUNCTIONS) + 2 * len(lightness.ACTIVATIONS) + 3
    assert len(claims) == 3 * 2 * 2 + light
    assert {claim.verdict for claim in claims} <= {"reported", "below its aim"}
    slower = dataset.assign(
        seconds=dataset["seconds"].where(dataset["contestant"] != "jax", 2 * dataset["seconds"])
    )
    arrays = slice(0, 3 * 2 * 2)
    doubled = [claim.measured for claim in speed.claims(slower)[arrays]]
    np.testing.assert_allclose(doubled, [2 * claim.measured for claim in claims[arrays]])


def test_figure_and_table(dataset):
    figure = speed.plot(dataset)
    assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes)
    plt.close(figure)
    light = len(list(light_ratios(dataset)))
    assert len(speed.table(dataset).splitlines()) == 2 + 3 + 3 + light


def test_what_is_called_and_prepared_is_timed_in_both_libraries(dataset):
    for what in ("call", "grad", "trace", "compile"):
        assert float(dataset[f"{what}_seconds"].min()) > 0
    assert float(dataset["step_seconds"].sel(program=lightness.MODEL).min()) > 0
