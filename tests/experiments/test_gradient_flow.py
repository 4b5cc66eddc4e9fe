"""The experiments on theory and the probe, at sizes of seconds, held to their own claims."""

import jax
import numpy as np
import pytest

from experiments import (
    batch_norm,
    diagnosis,
    isometry,
    learning_curve,
    mean_field,
    saturation,
)
from experiments.depth import data, shapeset
from experiments.harness.refusal import Refusal
from experiments.patients import price


def verdicts(experiment, config):
    dataset = experiment.measure(config, jax.random.key(0))
    claims = experiment.claims(dataset)
    figure = experiment.plot(dataset)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes[:3])
    return {claim.name: claim for claim in claims}


def test_the_tree_has_the_correlations_of_its_branches():
    items = np.asarray(learning_curve.tree(jax.random.key(0), 20_000))
    agreement = items @ items.T / items.shape[1]
    # two items whose paths part k levels up agree as (1 - 2 * 0.1)^(2k)
    for levels, other in ((1, 1), (2, 2), (5, 16)):
        np.testing.assert_allclose(agreement[0, other], 0.8 ** (2 * levels), atol=0.03)


def test_learning_curve():
    found = verdicts(
        learning_curve, learning_curve.Config(features=64, steps=20_000, seeds=1, start=1e-2)
    )
    exact = [claim for claim in found.values() if claim.kind == "exact"]
    assert len(exact) == 2
    assert all(claim.verdict == "holds" for claim in exact)


@pytest.mark.proof
def test_mean_field():
    config = mean_field.Config(
        grid=6, width=200, depth=30, draws=4, trained_width=20, depths=(4,),
        weight_variances=(1.0, 1.76), steps=3,
    )  # fmt: skip
    found = verdicts(mean_field, config)
    for name, claim in found.items():
        if not name.startswith("depth"):
            assert claim.verdict == "holds", claim


@pytest.mark.parametrize("ensemble", isometry.ENSEMBLES)
def test_weights_have_their_variance(ensemble):
    kind = isometry.Kind(np.tanh, ensemble, 1.3, 0.0)
    weights = kind.weight_std * isometry.unit_weights(jax.random.key(0), kind.ensemble, (200, 200))
    np.testing.assert_allclose(np.mean(np.square(weights)) * 200, 1.69, rtol=0.02)


@pytest.mark.proof
def test_isometry():
    config = isometry.Config(
        width=100, depth=10, draws=4, trained_width=20, trained_depth=4, steps=5,
        learning_rates=(1e-3,),
    )  # fmt: skip
    found = verdicts(isometry, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 5
    assert all(claim.verdict == "holds" for claim in statistical)


@pytest.mark.proof
def test_diagnosis(monkeypatch):
    monkeypatch.setitem(price.SUBJECTS, "small", lambda: price.perceptron(3, 8, 4))
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # other tests want theirs
    few = {"patients": ("dict of arrays",), "subjects": ("small",)}
    found = verdicts(diagnosis, diagnosis.Config(depth=8, width=64, steps=150, **few))
    assert all(claim.verdict == "holds" for name, claim in found.items() if "share" in name)
    assert found["logistic: verdict of vanishing"].verdict == "holds"
    assert found["critical tanh: verdict of vanishing"].verdict == "holds"
    zero = next(claim for name, claim in found.items() if "jax.nn" in name)
    assert zero.measured == -np.inf


@pytest.mark.proof
def test_batch_norm():
    found = verdicts(batch_norm, batch_norm.Config(steps=1500))
    assert all(claim.verdict != "fails" for claim in found.values())


def test_mnist_without_a_network_is_refused(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(data, "fetch_openml", unreachable)
    with pytest.raises(Refusal, match="use --data digits"):
        data.binary_images("mnist", jax.random.key(0))


def test_shapes_are_of_nine_classes_and_hide_little():
    batch = shapeset.shapes(jax.random.key(0), 900)
    counts = np.bincount(batch.labels, minlength=9)
    assert len(counts) == 9
    np.testing.assert_allclose(counts, 100, atol=45)
    np.testing.assert_allclose(np.std(batch.inputs), 1, atol=0.1)
    # a single shape has two grey levels, a pair three: its first shape is not hidden
    levels = [len(np.unique(image)) for image in np.asarray(batch.inputs)]
    pairs = np.asarray(batch.labels) >= 3
    assert np.max(np.array(levels)[~pairs]) == 2
    assert np.mean(np.array(levels)[pairs] == 3) > 0.97


@pytest.mark.proof
def test_saturation():
    config = saturation.Config(data="digits", width=60, steps=300, initial_width=1000, draws=1)
    found = verdicts(saturation, config)
    statistical = [claim for claim in found.values() if claim.kind == "statistical"]
    assert len(statistical) == 5
    assert all(claim.verdict == "holds" for claim in statistical), statistical


@pytest.mark.proof
def test_saturation_on_shapes_that_are_drawn_for_every_example():
    config = saturation.Config(data="shapes", width=60, steps=2000, tanh_rate=0.05)
    point = {"activation": "tanh", "depth": 2}
    found = saturation._train(point, config, jax.random.key(0))
    assert float(found["accuracy"][-1]) > 2 / shapeset.CLASSES  # twice what chance gives
    means = found["mean"].values
    assert means.shape == (50, 2)
    assert np.isfinite(means).all()
