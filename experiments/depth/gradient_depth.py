r"""Gradient norm at every layer of plain networks, down to 10^-850, in float32.

Figure: Glorot & Bengio 2010 (AISTATS, PMLR 9:249-256), figs 6 and 7, taken to depth 1,000 and
set beside two predictions: the chain of slopes and weight norms of Hochreiter 1991 and Pascanu,
Mikolov & Bengio 2013 (ICML, PMLR 28(3):1310-1318), a bound, and the mean-field rate
$\sqrt{\chi_1}$ of Schoenholz et al. 2017 (arXiv:1611.01232), what to expect. The second figure
shows the same layers with other activations, other weights, normalisation and residual links.

Command: python -m experiments run gradient_depth [--preset quick|paper]
Time: quick 50 s, paper 11 min (2 CPU cores).
Must show: logistic networks with the standard initialisation U[-1/sqrt(n), 1/sqrt(n)] lose a
factor 0.1415 per layer, +-0.2 % at width 1000; no layer exceeds $\|W\|_2/4$ times the layer above.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.datasets.images import Batch
from experiments.harness import Claim, Settings, Within, over_devices, reported, sweep
from sigjax.theory import mean_field

from . import _panels as panels
from ._activations import ACTIVATIONS, Activation
from ._architecture import Architecture, norms_of_layers
from ._gradient_details import details as details
from ._initializers import INITIALIZERS, WeightInitializer, weight_initializer
from ._network import SEED_AXES, PlainNetwork, Weights
from ._normalization import NORMS
from ._profile import (
    EDGE,
    excess_over_bound,
    expected_profile,
    first_over_last,
    log10_magnitude,
    log10_rate,
    networks,
    only,
    select,
)
from ._supply import Supply

Point = Mapping[str, Any]

# How far a computed norm may exceed an exact bound: some thousand roundings of float32.
_ROUNDING = 1e-4


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """What is measured, and how large."""

    width: int = 128
    """Units per layer of the 30-layer networks and of the depth sweep."""
    depth: Annotated[int, Within(2)] = 30
    """Layers of the networks whose activations, weights and norms are compared."""
    batch: int = 64
    """Examples per gradient."""
    seeds: int = 2
    """Independent networks per setting."""
    depths: Annotated[tuple[int, ...], Within(2 * EDGE + 2)] = (10, 1000)
    """Depths at which the rate is measured; the last is drawn layer by layer."""
    wide_width: int = 1000
    """Width at which the rate is held to the theory."""
    wide_depth: Annotated[int, Within(2 * EDGE + 2)] = 20
    """Layers of the wide networks."""
    all_combinations: bool = False
    """Every activation with every weight distribution, norm, link and data set."""

    @classmethod
    def quick(cls) -> "Config":
        """Everything the claims need, in a minute."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Width 1000 as in Glorot & Bengio, and every combination."""
        return cls(
            width=1000,
            batch=128,
            seeds=8,
            wide_depth=40,
            depths=(10, 30, 100, 300, 1000),
            all_combinations=True,
        )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Measures every network; shorter ones are padded with NaN above their last layer."""
    supply = Supply(key, deepest=max(config.depths))
    found = sweep(points(config), functools.partial(measure_network, supply=supply))
    dataset = xr.concat(found, "network", join="outer", combine_attrs="override")
    dataset["layer"].attrs["long_name"] = "layer, 1 next to the input"
    return dataset


def points(config: Config) -> list[Point]:
    """The networks to measure; those with the same weights follow each other."""
    plain = {
        "norm": "none",
        "residual": 0,
        "naive": 0,
        "data": "digits",
        "role": "profile",
        "batch": config.batch,
        "width": config.width,
        "depth": config.depth,
        "seeds": config.seeds,
    }
    profiles = [
        dict(plain, activation=activation, initializer=initializer)
        for initializer, activation in itertools.product(INITIALIZERS, ACTIVATIONS)
        # silu has no critical point without biases: chi_1 jumps over 1.
        if (activation, initializer) != ("silu", "critical")
    ]
    noise = [dict(plain, activation="sigmoid", initializer="standard", data="gaussian")]
    variants = [
        dict(
            plain,
            role="variant",
            activation=activation,
            initializer=initializer,
            norm=norm,
            residual=residual,
        )
        for activation, initializer in (("sigmoid", "standard"), ("relu", "he"))
        for norm, residual in itertools.product(NORMS, (0, 1))
    ]
    if config.all_combinations:
        noise = [dict(point, data="gaussian") for point in profiles]
        variants = [
            dict(point, role="variant", norm=norm, residual=residual)
            for point in profiles + noise
            for norm, residual in itertools.product(NORMS, (0, 1))
        ]
    # A depth of 1,000 is measured at moderate width: its weights have to fit into memory.
    deep = [
        dict(
            plain,
            role="deep",
            activation=activation,
            initializer=initializer,
            depth=depth,
            width=min(config.width, 128),
            batch=32,
            seeds=min(config.seeds, 4),
            naive=int(activation == "sigmoid" and depth == max(config.depths)),
        )
        for activation, initializer in panels.DEEP
        for depth in config.depths
    ]
    wide = [
        dict(
            plain,
            role="wide",
            activation="sigmoid",
            initializer="standard",
            data="gaussian",
            width=config.wide_width,
            depth=config.wide_depth,
            batch=32,
        )
    ]
    return [*sorted(profiles + noise + variants, key=_weights_of), *deep, *wide]


def _weights_of(point: Point) -> tuple[int, str]:
    """Sorts networks by their weights, which depend on the activation if they are critical."""
    initializer = point["initializer"]
    return INITIALIZERS.index(initializer), point["activation"] * (initializer == "critical")


def measure_network(point: Point, *, supply: Supply) -> xr.Dataset:
    """Gradient norms of the independent networks of one setting, and what theory expects."""
    activation = ACTIVATIONS[point["activation"]]
    initializer = weight_initializer(point["initializer"], point["activation"])
    depth = point["depth"]
    batch = supply.batch(point["data"], point["batch"])
    weights, spectral_norms = supply.weights(
        initializer,
        seeds=point["seeds"],
        depth=supply.deepest if point["role"] == "deep" else depth,
        width=point["width"],
    )
    architecture = Architecture.of(point["activation"], point["norm"], point["residual"], depth)
    norms = over_devices(
        norms_of_layers, weights, batch, architecture, in_axes=(SEED_AXES, None, None)
    )
    spectral = np.log10(spectral_norms[:, : depth - 1])
    values = {
        "log10_weight_gradient": log10_magnitude(norms.weight)[:, :depth],
        "log10_preactivation_gradient": log10_magnitude(norms.preactivation)[:, :depth],
        "log10_spectral_norm": np.pad(spectral, ((0, 0), (1, 0)), constant_values=np.nan),
        "log10_naive_weight_gradient": np.full((point["seeds"], depth), np.nan),
    }
    if point["naive"]:
        values["log10_naive_weight_gradient"] = _naive_log10(weights, batch)
    plain = point["norm"] == "none" and not point["residual"]
    return xr.Dataset(
        {name: (("seed", "layer"), value) for name, value in values.items()}
        | {name: value for name, value in point.items() if name != "seeds"}
        | {
            "theory_log10_rate": _theory_log10_rate(activation, initializer) if plain else np.nan,
            "log10_steepest": float(np.log10(activation.steepest)),
        },
        coords={"seed": np.arange(point["seeds"]), "layer": np.arange(1, depth + 1)},
    )


@functools.cache
def _theory_log10_rate(activation: Activation, initializer: WeightInitializer) -> float:
    return float(np.log10(mean_field(activation.function, initializer.gain).chi1)) / 2


def _naive_log10(weights: Weights, batch: Batch) -> np.ndarray:
    """What `jax.grad` of the same loss shows, with jax's own sigmoid and norm, in float32."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(SEED_AXES, None))
    def norms(weights: Weights, batch: Batch) -> Array:
        gradient = jax.grad(PlainNetwork(jax.nn.sigmoid).loss)(weights, batch)
        first = jnp.linalg.norm(gradient.input)
        return jnp.append(first, jnp.linalg.norm(gradient.hidden, axis=(1, 2)))

    with np.errstate(divide="ignore"):
        return np.log10(np.asarray(norms(weights, batch), np.float64))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the article and the papers say, held to the measured norms."""
    deep = only(dataset, role="deep", activation="sigmoid", depth=int(dataset["depth"].max()))
    return [
        *_bounds(dataset),
        *_rates(only(dataset, role="wide"), deep),
        *_depths(deep),
        *_ends(dataset),
    ]


def _bounds(dataset: xr.Dataset) -> list[Claim]:
    """No layer's gradient grows beyond what the slope and the weights' norm allow."""
    plain = select(dataset, norm="none", residual=0)
    bounded = {
        "sigmoid": ("1/4", "the article; Pascanu et al. 2013", select(plain, activation="sigmoid")),
        "every activation": ("sup|phi'|", "Pascanu et al. 2013", plain),
    }
    return [
        Claim(
            name=f"{title}: no layer exceeds its bound",
            source=f"||delta_l|| <= {slope} ||W||_2 ||delta_(l+1)||, {source}",
            expected=0.0,
            measured=max(float(excess_over_bound(one).max()) for one in networks(selected)),
            tolerance=_ROUNDING,
            kind="exact",
            relation="<=",
        )
        for title, (slope, source, selected) in bounded.items()
    ]


def _rates(wide: xr.Dataset, deep: xr.Dataset) -> list[Claim]:
    """Standard weights lose the gradient at mean field's rate.

    Over seeds 0 to 3 the mean of two networks is 0.06 % (root mean square) from it at width 1,000,
    and 0.3 % below it at width 128.
    """
    subjects = {
        f"width {int(wide['width'])}": (wide, "Inner layers", 0.002),
        f"depth {int(deep['depth'])}": (deep, "Finite width takes 0.3 % off", 0.006),
    }
    return [
        Claim(
            name=f"sigmoid, standard weights, {title}: rate per layer",
            source=f"sqrt(chi_1), Schoenholz et al. 2017. {where}",
            expected=10 ** float(network["theory_log10_rate"]),
            measured=10 ** float(log10_rate(network).mean()),
            tolerance=tolerance,
            kind="statistical",
            relative=True,
        )
        for title, (network, where, tolerance) in subjects.items()
    ]


def _depths(deep: xr.Dataset) -> list[Claim]:
    """The deepest network's norms are numbers, where a naive norm has long been 0."""
    norms, depth = deep["log10_weight_gradient"], int(deep["depth"])
    return [
        Claim(
            name=f"depth {depth}: layers whose norm is 0, inf or NaN",
            source="float32 mantissa, exponent apart",
            expected=0,
            measured=int((~np.isfinite(norms)).sum()),
            kind="exact",
        ),
        reported(
            f"depth {depth}: log10 of the first layer's gradient",
            "10^-850 in float32",
            float(norms.isel(layer=0).mean()),
        ),
        reported(
            "layers below the output at which jax.grad's float32 norm reads 0",
            "a naive norm is 0 at about depth 30",
            _naive_reach(deep),
        ),
    ]


# The tolerance is about twice the root mean square distance from theory of the mean of two networks
# at width 128 (seeds 0 to 3); what that finite width changes is included.
_ENDS = (
    ("sigmoid", "standard", "digits", "Schoenholz et al. 2017", 0.1),
    ("sigmoid", "standard", "gaussian", "Schoenholz et al. 2017", 0.1),
    ("sigmoid", "orthogonal", "digits", "Schoenholz et al. 2017", 0.02),
    ("tanh", "standard", "digits", "Schoenholz et al. 2017", 0.1),
    ("tanh", "orthogonal", "digits", "Saxe et al. 2014", 0.02),
    ("relu", "he", "digits", "He et al. 2015", 0.25),
)


def _ends(dataset: xr.Dataset) -> list[Claim]:
    """What is left of the gradient after 30 layers: of sigmoids nothing, else most of it."""
    found = []
    for activation, initializer, data, paper, tolerance in _ENDS:
        network = only(
            dataset, role="profile", activation=activation, initializer=initializer, data=data
        )
        depth = int(network["depth"])
        found.append(
            Claim(
                name=f"{depth}-layer {activation}, {initializer}, {data}: "
                "log10 of the first over the last layer's gradient",
                source=f"mean field, layer by layer; {paper}",
                expected=float(expected_profile(network)[0]),
                measured=float(first_over_last(network).mean()),
                tolerance=tolerance,
                kind="statistical",
            )
        )
    return found


def _naive_reach(network: xr.Dataset) -> float:
    """Layers from the top down to the first whose naive norm is 0, averaged over seeds."""
    dead = network["log10_naive_weight_gradient"] == -np.inf
    highest: xr.DataArray = (dead * network["layer"]).max("layer")
    return float(network["depth"] - highest.mean())


def plot(dataset: xr.Dataset) -> Figure:
    """The gradient on its way down, beside it at depth 1,000 and its rates."""
    figure, axes = plt.subplot_mosaic(
        [["hero", "hero", "deepest"], ["hero", "hero", "rates"]],
        figsize=(14, 7.5),
        layout="constrained",
    )
    for place, panel in panels.PANELS.items():
        panel(axes[place], dataset)
    return figure
