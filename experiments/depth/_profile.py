"""Reads gradient profiles: which networks, how fast per layer, how far from the bound.

A profile is `log10 ||gradient||` over `seed` and `layer`; layers that a network does not have
are NaN.
"""

import jax
import numpy as np
import xarray as xr

from experiments.datasets.images import PIXELS
from sigjax.probe import Scaled
from sigjax.theory import gradient_profile

from ._activations import ACTIVATIONS
from ._initializers import weight_initializer

# Layers next to the input have not reached the fixed point of the variance, and those next to
# the readout have cotangents that do not look random yet: mean field holds between.
EDGE = 3


def log10_magnitude(norms: Scaled) -> np.ndarray:
    """log10 in float64 on the host: float32 would leave 4 digits of 10^-850."""
    mantissa, exponent = (np.asarray(part, np.float64) for part in jax.device_get(norms))
    with np.errstate(divide="ignore"):
        return np.log10(mantissa) + exponent * np.log10(2.0)


def select(dataset: xr.Dataset, **attributes: str | int) -> xr.Dataset:
    """The networks with these attributes."""
    chosen = np.ones(dataset.sizes["network"], bool)
    for name, value in attributes.items():
        chosen &= dataset[name].values == value
    return dataset.isel(network=np.flatnonzero(chosen))


def networks(dataset: xr.Dataset) -> list[xr.Dataset]:
    """The networks one by one, each without the layers and seeds that it lacks."""

    def trimmed(network: xr.Dataset) -> xr.Dataset:
        present = network["log10_preactivation_gradient"].isel(layer=0).notnull()
        layers = slice(int(network["depth"]))
        return network.isel(layer=layers, seed=np.flatnonzero(present))

    return [trimmed(dataset.isel(network=index)) for index in range(dataset.sizes["network"])]


def only(dataset: xr.Dataset, **attributes: str | int) -> xr.Dataset:
    """The one network with these attributes."""
    (network,) = networks(select(dataset, **attributes))
    return network


def log10_rate(network: xr.Dataset) -> xr.DataArray:
    r"""$\log_{10} \|\delta_l\| / \|\delta_{l+1}\|$, averaged over the inner layers, per seed."""
    profile = network["log10_preactivation_gradient"]
    inner = profile.isel(layer=slice(EDGE, profile.sizes["layer"] - EDGE))
    return (inner.isel(layer=0) - inner.isel(layer=-1)) / (inner.sizes["layer"] - 1)


def expected_profile(network: xr.Dataset) -> np.ndarray:
    r"""$\log_{10} \|\delta_l\| / \|\delta_L\|$ by mean field, for inputs of mean square 1."""
    name, activation = str(network["initializer"].values), str(network["activation"].values)
    # The first layer leads from 64 pixels to many units, and these initialisers do not give its
    # weights the variance 1/inputs: that of the inputs is scaled to make up for it.
    width = int(network["width"])
    first = {"orthogonal": PIXELS / width, "glorot": 2 * PIXELS / (PIXELS + width)}
    profile = gradient_profile(
        ACTIVATIONS[activation].function,
        weight_initializer(name, activation).gain,
        depth=int(network["depth"]),
        input_variance=first.get(name, 1.0),
    )
    return np.asarray(profile.log10_norm, np.float64)


def first_over_last(network: xr.Dataset) -> xr.DataArray:
    """log10 of the first layer's gradient over the last layer's, at pre-activations, per seed."""
    profile = network["log10_preactivation_gradient"]
    return profile.isel(layer=0) - profile.isel(layer=-1)


def log10_bound(network: xr.Dataset) -> xr.DataArray:
    r"""The chain of $\|\delta_l\| \le \sup|\phi'| \|W_{l+1}\|_2 \|\delta_{l+1}\|$ from the top.

    Only for networks without normalisation and residual links.
    """
    step = network["log10_spectral_norm"] + network["log10_steepest"]
    upwards = step.isel(layer=slice(None, None, -1)).cumsum("layer", skipna=True)
    above = upwards.isel(layer=slice(None, None, -1)).shift(layer=-1, fill_value=0.0)
    return network["log10_preactivation_gradient"].isel(layer=-1) + above


def excess_over_bound(network: xr.Dataset) -> xr.DataArray:
    """log10 of each layer's gradient over what the layer above allows; never above 0."""
    delta = network["log10_preactivation_gradient"]
    above = delta + network["log10_spectral_norm"] + network["log10_steepest"]
    return (delta - above.shift(layer=-1)).isel(layer=slice(None, -1))
