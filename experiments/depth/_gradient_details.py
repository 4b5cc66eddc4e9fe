"""The second figure of gradient depth: what changes how fast the gradient is lost."""

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.style import COLOURS, MEANING

from ._activations import ACTIVATIONS
from ._initializers import INITIALIZERS
from ._normalization import NORMS
from ._panels import PREACTIVATION, WEIGHT, Ends, descend, label_axes, label_ends, relative
from ._profile import only

# Functions that have no colour of their own in all figures take one of the others.
_ACTIVATION_COLOURS = {
    **{name: MEANING[name] for name in ("sigmoid", "tanh", "relu")},
    "hard_tanh": COLOURS[2],
    "silu": COLOURS[4],
    "centred_sigmoid": COLOURS[5],
}


def details(dataset: xr.Dataset) -> Figure:
    """The gradient under six activations, five weight distributions, norms and residual links."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.2))
    for axis, panel in zip(axes, (activations, initializers, remedies), strict=True):
        panel(axis, dataset)
    return figure


def activations(axis: Axes, dataset: xr.Dataset) -> None:
    """All activations with standard weights."""
    ends: Ends = []
    for name in ACTIVATIONS:
        colour = _ACTIVATION_COLOURS[name]
        network = only(
            dataset, role="profile", activation=name, initializer="standard", data="digits"
        )
        profile = relative(network["log10_preactivation_gradient"])
        ends.append((descend(axis, profile, color=colour), name.replace("_", " "), colour))
    label_axes(axis, "Activations, standard weights", PREACTIVATION, int(network["depth"]))
    label_ends(axis, ends)


def initializers(axis: Axes, dataset: xr.Dataset) -> None:
    """Every weight distribution under sigmoids."""
    ends: Ends = []
    for name, colour in zip(INITIALIZERS, COLOURS, strict=False):
        network = only(
            dataset, role="profile", activation="sigmoid", initializer=name, data="digits"
        )
        profile = relative(network["log10_weight_gradient"])
        ends.append((descend(axis, profile, color=colour), name, colour))
    label_axes(axis, "Weights, sigmoid", WEIGHT, int(network["depth"]))
    label_ends(axis, ends)


def remedies(axis: Axes, dataset: xr.Dataset) -> None:
    """Normalisation and residual links around sigmoids."""
    ends: Ends = []
    for norm, colour in zip(NORMS, COLOURS, strict=False):
        for residual, line in ((0, "-"), (1, "--")):
            network = only(
                dataset,
                role="variant",
                activation="sigmoid",
                initializer="standard",
                norm=norm,
                residual=residual,
                data="digits",
            )
            profile = relative(network["log10_weight_gradient"])
            title = {"none": "plain"}.get(norm, f"{norm} norm") + (", residual" if residual else "")
            end = descend(axis, profile, color=colour, linestyle=line)
            ends.append((end, title, colour))
    label_axes(axis, "Norms and residual links, sigmoid", WEIGHT, int(network["depth"]))
    label_ends(axis, ends)
