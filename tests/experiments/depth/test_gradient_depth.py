"""The experiment from end to end at a small size."""

import dataclasses
import itertools

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from experiments.depth import gradient_depth


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    # Networks of one shape: one program measures them all.
    small = dataclasses.replace(
        gradient_depth.Config.quick(),
        width=16,
        batch=32,
        seeds=2,
        depth=12,
        depths=(9, 12),
        wide_width=16,
        wide_depth=12,
    )
    # What is left are small programs: to optimise them takes longer than to run them.
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        return gradient_depth.measure(small, jax.random.key(0))
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.proof
def test_all_claims_are_drawn_from_the_data(dataset):
    claims = gradient_depth.claims(dataset)
    names = [claim.name for claim in claims]
    assert len(set(names)) == len(names)
    exact = [claim for claim in claims if claim.kind == "exact"]
    assert len(exact) == 3
    for claim in exact:
        assert claim.measured <= claim.expected + claim.tolerance
    shifted = dataset.assign(
        log10_preactivation_gradient=dataset["log10_preactivation_gradient"]
        - 2.0 * dataset["layer"]
    )
    broken = next(c for c in gradient_depth.claims(shifted) if c.kind == "exact")
    assert broken.measured > broken.tolerance


@pytest.mark.proof
def test_every_panel_shows_something(dataset):
    for draw in (gradient_depth.plot, gradient_depth.details):
        figure = draw(dataset)
        assert len(figure.axes) == 3
        for axis in figure.axes:
            assert axis.lines
            assert axis.get_xlabel()
            assert axis.get_title()
            assert axis.get_ylabel()
        plt.close(figure)


@pytest.mark.proof
def test_data_survive_netcdf(dataset, tmp_path):
    path = tmp_path / "data.nc"
    dataset.to_netcdf(path, engine="scipy")
    again = xr.load_dataset(path, engine="scipy")
    measured = [claim.measured for claim in gradient_depth.claims(dataset)]
    np.testing.assert_array_equal(
        [claim.measured for claim in gradient_depth.claims(again)], measured
    )


@pytest.mark.proof
def test_a_shallow_network_has_the_first_layers_of_the_deepest(dataset):
    shallow, deepest = (
        gradient_depth.only(
            dataset, role="deep", activation="tanh", initializer="orthogonal", depth=depth
        )
        for depth in (9, 12)
    )
    spectral = deepest["log10_spectral_norm"].isel(layer=slice(9))
    np.testing.assert_array_equal(shallow["log10_spectral_norm"], spectral)
    # The same signals, but the gradient enters from another layer.
    assert not np.array_equal(
        shallow["log10_weight_gradient"], deepest["log10_weight_gradient"].isel(layer=slice(9))
    )


def test_networks_with_the_same_weights_follow_each_other():
    for preset in (gradient_depth.Config.quick(), gradient_depth.Config.paper()):
        weights = [
            (point["initializer"], point["activation"] * (point["initializer"] == "critical"))
            for point in gradient_depth.points(preset)
            if point["role"] in ("profile", "variant")
        ]
        assert len(list(itertools.groupby(weights))) == len(set(weights))


def test_paper_preset_covers_every_combination():
    points = gradient_depth.points(gradient_depth.Config.paper())
    keys = ("role", "activation", "initializer", "norm", "residual", "data", "depth", "width")
    assert len({tuple(point[key] for key in keys) for point in points}) == len(points)
    assert len(points) > 350
