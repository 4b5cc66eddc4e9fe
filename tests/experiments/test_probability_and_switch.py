"""The experiments on probability, approximation, logic and dynamics, held to their own claims."""

import itertools

import jax
import numpy as np
import pytest
import scipy.optimize

from experiments import (
    flip_flop,
    linear_heart,
    logic_gates,
    logistic_regression,
    multi_label,
    platt_scaling,
    platt_speed,
    robot_joint,
    sleep_wake,
    universal_approximation,
)
from experiments.approximation import random_pieces
from experiments.harness.refusal import Refusal
from experiments.probability import data


def verdicts(experiment, config):
    with jax.numpy_dtype_promotion("standard"):  # Optax's optimizers add int32 to float32
        dataset = experiment.measure(config, jax.random.key(0))
    claims = experiment.claims(dataset)
    figure = experiment.plot(dataset)
    assert sum(bool(axes.get_xlabel() and axes.get_ylabel()) for axes in figure.axes) >= 2
    return {claim.name: claim for claim in claims}


def failures(found):
    return [claim for claim in found.values() if claim.verdict == "fails"]


CASES = {
    linear_heart: linear_heart.Config(points=20_000),
    logic_gates: logic_gates.Config(network_steps=2500),
    logistic_regression: logistic_regression.Config(adam_steps=2000),
    robot_joint: robot_joint.Config(amplitudes=5),
    flip_flop: flip_flop.Config(sets=500),
    sleep_wake: sleep_wake.Config(settling=10, minutes=2.0),
    multi_label: multi_label.Config(seeds=2, steps=1000),
}


@pytest.mark.proof
@pytest.mark.parametrize("experiment", CASES, ids=lambda module: module.__name__)
def test_all_claims_hold(experiment):
    found = verdicts(experiment, CASES[experiment])
    assert len(found) >= 8
    assert not failures(found)


@pytest.mark.proof
def test_platt_scaling():
    config = platt_scaling.Config(pairs=4, splits=3, repeats=8, logits=5000)
    assert not failures(verdicts(platt_scaling, config))


@pytest.mark.proof
def test_the_race_of_calibrations_is_between_equals():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(3, 200))
    labels = (scores + generator.normal(size=scores.shape) > 0).astype(np.int32)
    fits = platt_speed._ours(scores, labels)["sigjax, float64"]()
    theirs = np.array(platt_speed._theirs(scores, labels)())
    np.testing.assert_allclose(np.stack([fits.a, fits.b], axis=1), theirs, rtol=1e-4)
    found = verdicts(platt_speed, platt_speed.Config(fits=(1, 3), points=50, rounds=1))
    assert [claim.kind for claim in found.values()] == ["statistical", "reported"]
    assert all(claim.measured > 0 for claim in found.values())


@pytest.mark.proof
def test_universal_approximation():
    config = universal_approximation.Config(
        repeats=2000,
        targets=("cos 6x", "Gaussian, 2-D"),
        units=(4, 16),
        points=128,
        steps=300,
        seeds=1,
    )
    found = verdicts(universal_approximation, config)
    exact = [claim for claim in found.values() if claim.kind != "qualitative"]
    assert len(exact) == 6
    assert all(claim.verdict == "holds" for claim in exact), exact


def test_the_error_of_steps_is_the_integral():
    key = jax.random.key(3)
    knots = np.sort(np.asarray(jax.random.uniform(key, (7,)), np.float64))
    x = (np.arange(200_000) + 0.5) / 200_000
    drawn = np.searchsorted(knots, x) / 7
    np.testing.assert_allclose(
        random_pieces.steps_error(key, 7), np.mean((drawn - x) ** 2), rtol=1e-4
    )


def test_threshold_functions_are_those_that_a_linear_program_separates():
    # an oracle that knows nothing of integer weights
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    count = 0
    for table in itertools.product((-1, 1), repeat=8):
        signed = np.array(table)[:, None] * np.hstack([corners, np.ones((8, 1))])
        program = scipy.optimize.linprog(
            np.zeros(4), A_ub=-signed, b_ub=-np.ones(8), bounds=[(None, None)] * 4
        )
        count += program.status == 0
    assert count == logic_gates.threshold_functions(3) == 104


def test_every_digit_has_labels_of_its_own():
    rows = {tuple(d in which for which in data.ATTRIBUTES.values()) for d in range(10)}
    counts = {sum(row) for row in rows}
    assert counts == {1, 2, 3, 4}
    assert len(rows) >= 7


def test_features_are_standardised_by_the_training_half_alone():
    split = data.breast_cancer(jax.random.key(0), 0.3)
    np.testing.assert_allclose(split.train_inputs.mean(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(split.train_inputs.std(axis=0), 1, atol=1e-10)
    assert np.abs(split.test_inputs.mean(axis=0)).max() > 1e-3
    assert len(split.test_labels) == round(0.3 * 569)
    assert split.test_labels.sum() + split.train_labels.sum() == 212  # malignant


def test_yeast_without_a_network_is_refused(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "fetch_openml", unreachable)
    with pytest.raises(Refusal, match="use --data digits"):
        data.several_labels("yeast", jax.random.key(0), 0.4)
    with pytest.raises(Refusal, match="digits or yeast"):
        data.several_labels("proteins", jax.random.key(0), 0.4)


def test_yeast_is_read_as_openml_gives_it(monkeypatch):
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)

    def fetched(**kwargs):
        assert kwargs["data_id"] == 40597
        genes = pandas.DataFrame(generator.normal(size=(60, 5)))
        functions = pandas.DataFrame(
            {"Class1": ["TRUE", "FALSE"] * 30, "Class2": ["TRUE"] * 60}, dtype="category"
        )
        return genes, functions

    monkeypatch.setattr(data, "fetch_openml", fetched)
    found = verdicts(multi_label, multi_label.Config(data="yeast", steps=20, seeds=1, batch=16))
    assert {claim.kind for claim in found.values()} <= {"exact", "reported", "qualitative"}


def test_sleep_is_drawn_where_the_week_cuts_it():
    episodes = sleep_wake._episodes(np.array([10.0, 160.0]), np.array([5.0, 18.0]))
    assert episodes == [(0.0, 5.0), (10.0, 18.0), (160.0, 168.0)]
