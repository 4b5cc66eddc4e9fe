"""The experiment on accuracy from end to end, on a few functions."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.functions import _joint_accuracy as joint_accuracy
from experiments.functions import accuracy
from experiments.harness.usage import UsageError
from experiments.oracle.partials import errors, evaluate, truths

pytestmark = pytest.mark.usefixtures("optimized")

JOINTS = ("logaddexp", "sigmoid_binary_cross_entropy")


@pytest.fixture(scope="module")
def dataset():
    small = accuracy.Config(
        functions=("sigmoid", "logit", "focal_of_1"),
        float32_stride=65537,
        float64_tries=20,
        float64_rounds=1,
        joints=JOINTS,
        joint_order=2,
        joint_tries=24,
    )
    return accuracy.measure(small, jax.random.key(0))


@pytest.mark.slow
def test_claims_hold_for_sigjax_and_would_fail_for_jax(dataset):
    verdicts = {claim.name: claim.verdict for claim in accuracy.claims(dataset)}
    assert "fails" not in verdicts.values()
    assert len(verdicts) == 27
    swapped = dataset.assign_coords(
        library=["jax", "sigjax faithful", "sigjax"][: dataset.sizes["library"]]
    )
    assert any(claim.verdict == "fails" for claim in accuracy.claims(swapped))


def test_one_partial_derivative_beyond_its_floor_fails_its_claim_alone(dataset):
    worse = dataset.copy(deep=True)
    cell = {"joint": JOINTS[1], "dtype": "float32", "partial": "1,1"}
    worse["joint_ulp"].loc[cell] = 6.6
    failed = [c.name for c in accuracy.claims(worse) if c.verdict == "fails"]
    assert len(failed) == 1
    assert "float32, second derivative" in failed[0]
    assert f"{JOINTS[1]}, derivative 1,1" in failed[0]


def test_the_worst_inputs_have_the_errors_that_are_stored(dataset):
    for name in JOINTS:
        joint = joint_accuracy.EVERY[name]
        for order in range(3):
            found = joint_accuracy.worst(dataset, name, "float32", order)
            orders = tuple(map(int, found.partial.split(",")))
            points = np.array([found.inputs])
            results = evaluate(joint, "float32", points, [orders])
            jet = truths(joint, points)
            again = errors(joint, "float32", points, jet, orders, results[0])
            assert again.ulp[0] == pytest.approx(found.ulp, abs=0.5)  # another program


def test_the_tables_have_a_row_a_function_and_library(dataset):
    unary, several = accuracy.table(dataset).split("\n\n")
    rows = unary.splitlines()[2:]
    assert len(rows) == 3 * dataset.sizes["library"] - 1  # focal loss is not faithful
    assert rows[0].startswith("| sigmoid | sigjax | 0.5000 / 0.4997 / 0.4993 |")
    rows = several.splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(JOINTS)
    assert rows[0].count(" at (") == 3


def test_every_panel_shows_every_library_and_every_function(dataset):
    figure = accuracy.plot(dataset)
    *panels, several, _ = figure.axes  # the last is the scale of its colours
    assert len(panels) == 12
    for axis in panels:
        assert len(axis.lines) == dataset.sizes["library"] + 1
        assert axis.get_title()
    assert len(several.texts) == 3 * len(JOINTS)
    plt.close(figure)


@pytest.mark.slice
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("functions", ("sin",), "--functions must be some of"),
        ("joints", ("hypot",), "--joints must be some of"),
        ("joint_dtypes", ("int8",), "--joint-dtypes must be some of"),
        ("float64_rounds", -1, "--float64-rounds must be at least 0"),
        ("float32_stride", 0, "--float32-stride must be at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(field, value, message):
    with pytest.raises(UsageError, match=message):
        accuracy.Config(**{field: value})
