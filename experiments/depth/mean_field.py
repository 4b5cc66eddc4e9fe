r"""How deep a signal and a gradient can go: the edge of chaos, for tanh and for the logistic.

Figure: the phase diagram of tanh (chi_1, critical line) and of the logistic; a layer's maps of the
mean square q and of the correlation c, with where drawn networks settle; depth scales over the
weight variance, predicted and measured in networks that are drawn; accuracy of trained networks
over depth and weight variance, with 6 xi_c. Poole et al. 2016, NIPS 29, figures 1 and 2 (bias std
0.3); Schoenholz et al. 2017, ICLR (arXiv:1611.01232), figures 2, 4 and 5 (bias variance
0.05; 200 steps, the first of their three times of training).

    python -m experiments run mean_field

Time on 2 CPU cores: quick 25 s, paper 42 min. Must show: chi_1 = 1 at weight variance
1.76096 for tanh; drawn networks keep to the theory's q*, c*, xi_c and chi_1; deep ones train near
the edge and nowhere else; the logistic has no edge below sigma_w = 10.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

import sigjax
from experiments.harness import Claim, Settings, Within, gather, over_devices, reported, sweep
from sigjax.theory import critical_weight_std, mean_field

from ._initializers import GAUSSIAN
from ._maps import correlation_map, variance_map
from ._phase_panels import plot as plot
from ._random_tanh import EDGE, correlation_slopes, draw_networks
from ._training import TRAINED, networks, trainer

BIAS_STD = 0.05**0.5  # of Schoenholz et al. 2017
# Standard deviations of weights and biases of the networks that are drawn: variances with biases
# of Schoenholz et al., then the standard deviations that Poole et al. plot.
DRAWN = (
    *((variance**0.5, BIAS_STD) for variance in (1.0, 1.5, 1.7, 2.0, 4.0)),
    *((weight_std, 0.3) for weight_std in (1.3, 2.5, 4.0)),
)
# So near the edge that a width of hundreds decides how far correlations go: xi_c is no claim there,
# and c* has three times the tolerance.
_AT_THE_EDGE = (2, 3)


class Fixed(NamedTuple):
    """What a wide network settles to: q*, chi_1, c* and xi_c."""

    q: float
    chi1: float
    c: float
    xi_c: float


# The papers' settings by adaptive quadrature in float64, in the order of `DRAWN`.
FIXED = (
    Fixed(0.19359, 0.75903, 1.0, 3.627),
    Fixed(0.41804, 0.93864, 1.0, 15.79),
    Fixed(0.53308, 0.98674, 1.0, 74.92),
    Fixed(0.72176, 1.04767, 0.74408, 25.21),
    Fixed(2.19549, 1.34240, 0.16506, 6.980),
    Fixed(0.60705, 0.93981, 1.0, 16.11),
    Fixed(4.07912, 1.58523, 0.12210, 5.109),
    Fixed(12.60415, 2.36726, 0.02972, 3.639),
)
_OF_POOLE = (5, 6, 7)
# The critical sigma_w at Poole et al.'s sigma_b.
POOLE_CRITICAL = 1.39558
# With the largest weight std of the phase diagram.
ACTIVATIONS = {"tanh": (jnp.tanh, 5.0), "logistic": (sigjax.sigmoid, 20.0)}
# Layers that a program of training has room for, or a multiple: depths near each other share one,
# and a shallow network's update does not go through the weights of the deepest.
_ROOM = 50
_SETTLED = slice(-10, None)  # layers over which q and c are averaged


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Sizes of the diagram, of the drawn and of the trained networks."""

    grid: Annotated[int, Within(2)] = 40
    """Points along each side of the phase diagram."""
    width: int = 300
    """Units per layer of the networks that are drawn and not trained."""
    depth: Annotated[int, Within(EDGE + 3)] = 40
    """Layers of the networks that are drawn and not trained."""
    draws: Annotated[int, Within(2)] = 12
    """Networks drawn for each weight variance."""
    trained_width: int = 100
    """Units per layer of the trained networks."""
    depths: Annotated[tuple[int, ...], Within(2)] = (10, 25, 50)
    """Numbers of layers of the trained networks."""
    weight_variances: tuple[float, ...] = (1.0, 1.3, 1.76, 2.5, 4.0)
    """Weight variances of the trained networks."""
    steps: int = 150
    """Steps of gradient descent."""
    batch: Annotated[int, Within(1, TRAINED)] = 32
    """Digits in a step."""
    learning_rate: float = 1e-3
    """Learning rate of gradient descent with momentum 0.9."""

    @classmethod
    def quick(cls) -> "Config":
        """Up to 50 layers of 100, 150 steps."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """Up to 300 layers of 300, 200 steps: the paper's range on a coarser grid.

        8 depths and 16 weight variances, where the paper has some twenty of each: the claims are of
        where the best variance lies and of both sides of it, which the grid resolves to 0.2.
        """
        return cls(
            grid=100,
            width=1000,
            depth=100,
            draws=16,
            trained_width=300,
            depths=(10, 20, 40, 70, 100, 150, 200, 300),
            weight_variances=tuple(np.linspace(1, 4, 16).round(4).tolist()),
            steps=200,
            batch=128,
        )

    @classmethod
    def full(cls) -> "Config":
        """30 depths and 31 weight variances, after the second of the paper's times of training."""
        return dataclasses.replace(
            cls.paper(),
            depths=tuple(range(10, 301, 10)),
            weight_variances=tuple(np.linspace(1, 4, 31).round(4).tolist()),
            steps=2000,
        )


def cost(point: Mapping[str, Any]) -> float:
    """Relative time of a point: by its layers, and by those that its program has room for."""
    depth = point.get("depth", 0)
    return depth + _ROOM / 2 * math.ceil(depth / _ROOM) if depth else 1.0


def measure(config: Config, key: Array) -> xr.Dataset:
    """Theory over a grid, networks drawn at a few points of it, and networks trained."""
    for_draws, for_training = jax.random.split(key)
    dataset = _theory(config).merge(_maps())
    dataset.attrs["width"] = config.width
    drawn = [{"drawn": index} for index in range(len(DRAWN))]
    fixed = dataset["theory_c"].values
    draw = functools.partial(_draw, config=config, key=for_draws, fixed=fixed)
    dataset = dataset.merge(gather(drawn, sweep(drawn, draw)), join="outer")

    @functools.cache
    def run(deepest: int) -> Callable[..., Any]:
        return trainer(
            for_training,
            activations=(jnp.tanh,),
            kernels=(GAUSSIAN,),
            width=config.trained_width,
            deepest=deepest,
            steps=config.steps,
            batch=config.batch,
        )

    def train(point: Any) -> xr.Dataset:
        """Networks of one depth, one for each weight variance."""
        room = _ROOM * math.ceil(point["depth"] / _ROOM)
        stds = [variance**0.5 for variance in config.weight_variances]
        rates = [config.learning_rate] * len(stds)
        _, accuracy = over_devices(
            run(room), networks(point["depth"], stds, BIAS_STD, rates), one_by_one=True
        )
        return xr.Dataset(
            {"accuracy": ("trained_weight_variance", np.asarray(accuracy, np.float64))},
            coords={"trained_weight_variance": list(config.weight_variances)},
        )

    trained = [{"depth": depth} for depth in config.depths]
    dataset = dataset.merge(gather(trained, sweep(trained, train)), join="outer")
    dataset["accuracy"].attrs = {"long_name": "accuracy on digits not trained on", "units": "1"}
    return dataset


def _theory(config: Config) -> xr.Dataset:
    """The phase diagrams, a line through that of tanh, and what is drawn."""
    bias_std = np.linspace(0, 4, config.grid)
    line = np.linspace(1, 4, 200)
    dataset = xr.Dataset(coords={"bias_std": bias_std, "line_weight_variance": line})
    grids = {}
    for name, (activation, widest) in ACTIVATIONS.items():
        weight_std = np.linspace(0.5, widest, config.grid)
        points = np.stack(np.meshgrid(weight_std, bias_std, indexing="ij"), -1).reshape(-1, 2)
        if name == "tanh":  # all that is asked of it in one program
            along = np.stack([np.sqrt(line), np.full_like(line, BIAS_STD)], -1)
            points = np.concatenate([points, along, np.array(DRAWN)])
        found = mean_field(activation, *points.T)
        grids[name] = {
            field: np.asarray(value, np.float64) for field, value in found._asdict().items()
        }
        dims = (f"weight_std_{name}", "bias_std")
        dataset = dataset.assign_coords({dims[0]: weight_std})
        chi1 = grids[name]["chi1"][: config.grid**2]
        dataset[f"chi1_{name}"] = dims, chi1.reshape(config.grid, config.grid)
    for field in ("q", "c", "xi_c", "xi_gradient", "chi1"):
        _, on_line, at_drawn = np.split(grids["tanh"][field], [config.grid**2, -len(DRAWN)])
        dataset[f"line_{field}"] = "line_weight_variance", on_line
        dataset[f"theory_{field}"] = "drawn", at_drawn
    dataset = dataset.assign_coords(drawn=range(len(DRAWN)))
    schoenholz, poole = np.asarray(critical_weight_std(jnp.tanh, np.array([BIAS_STD, 0.3])))
    dataset.attrs["critical_weight_variance"] = float(schoenholz) ** 2
    dataset.attrs["critical_weight_std_poole"] = float(poole)
    dataset.attrs["critical_weight_std_logistic"] = float(critical_weight_std(sigjax.sigmoid))
    return dataset


def _maps() -> xr.Dataset:
    """A layer's maps of q and c at Poole et al.'s settings, c at the q* of each."""
    q, c = np.linspace(0, 15, 61), np.linspace(0, 1, 41)
    settings = {index: DRAWN[index] for index in _OF_POOLE}
    return xr.Dataset(
        {
            "q_map": (
                ("poole", "q_in"),
                [variance_map(np.tanh, *stds, q) for stds in settings.values()],
            ),
            "c_map": (
                ("poole", "c_in"),
                [
                    correlation_map(np.tanh, *stds, FIXED[index].q, c)
                    for index, stds in settings.items()
                ],
            ),
        },
        coords={"poole": list(_OF_POOLE), "q_in": q, "c_in": c},
    )


def _draw(point: Any, config: Config, key: Array, fixed: np.ndarray) -> xr.Dataset:
    """What networks of one kind do, with the standard errors that their number leaves."""
    index = point["drawn"]
    found = draw_networks(
        key, *DRAWN[index], width=config.width, depth=config.depth, draws=config.draws
    )
    slopes = correlation_slopes(found, fixed[index])
    values = {
        "q": found.q[:, _SETTLED].mean(1),
        "c": found.c[:, _SETTLED].mean((1, 2)),
        "slope": slopes,
        "factor": found.factor,
    }
    weight_std, bias_std = DRAWN[index]
    part = {"drawn_weight_variance": weight_std**2, "drawn_bias_variance": bias_std**2}
    for name, value in values.items():
        part[f"drawn_{name}"] = float(value.mean())
        part[f"error_{name}"] = float(value.std(ddof=1) / len(value) ** 0.5)
    return xr.Dataset(part)


def _exact_claims(dataset: xr.Dataset) -> list[Claim]:
    rows = (
        (
            "tanh, bias variance 0.05: critical weight variance",
            "Schoenholz et al. 2017; computed by adaptive quadrature",
            (1.760955, "critical_weight_variance", 1e-5),
        ),
        (
            "tanh, bias std 0.3: critical weight std",
            "Poole et al. 2016; computed by adaptive quadrature",
            (POOLE_CRITICAL, "critical_weight_std_poole", 1e-5),
        ),
        (
            "logistic without biases: least weight std that is critical",
            "derived: chi_1 tends to sigma_w / (6 sqrt(pi)), 1 at 10.63",
            (10.15, "critical_weight_std_logistic", 0.01),
        ),
    )
    return [
        Claim(name, source, number, dataset.attrs[field], kind="exact", tolerance=tolerance)
        for name, source, (number, field, tolerance) in rows
    ]


def _drawn_claims(dataset: xr.Dataset) -> list[Claim]:
    """Drawn networks beside the theory; tolerances are about twice what seeds 0 to 2 showed."""
    found = []
    for index, ((weight_std, bias_std), known) in enumerate(zip(DRAWN, FIXED, strict=True)):
        drawn = {
            name: float(dataset[name].sel(drawn=index))
            for name in ("drawn_q", "drawn_c", "drawn_slope", "drawn_factor", "error_factor")
        }
        at_the_edge = index in _AT_THE_EDGE
        if index in _OF_POOLE:
            paper, where = "Poole et al. 2016", f"σ_w = {weight_std:g}, σ_b = {bias_std:g}"
        else:
            paper, where = "Schoenholz et al. 2017", f"σ_w² = {weight_std**2:.3g}, σ_b² = 0.05"
        growth, factor = np.log(known.chi1) / 2, drawn["drawn_factor"]
        # Three standard errors of the drawn networks, and what a finite width leaves of chi_1.
        tolerance = 3 * drawn["error_factor"] / factor / 2 + 1 / dataset.attrs["width"]
        rows: list[tuple[str, float, float, float]] = [
            ("variance of pre-activations, q*", known.q, drawn["drawn_q"], 0.05 * known.q),
            ("log of the gradient's growth a layer", growth, np.log(factor) / 2, tolerance),
        ]
        if known.c < 1:
            # Width 300 moves a fixed point near the edge by more, one near 0 by less.
            tolerance = 0.06 if at_the_edge else 0.008 if known.c < 0.1 else 0.02
            rows.append(("correlation of two inputs, c*", known.c, drawn["drawn_c"], tolerance))
        if not at_the_edge:
            measured = -1 / np.log(drawn["drawn_slope"])
            tolerance = 0.12 * known.xi_c
            rows.append(("depth scale of correlations, ξ_c", known.xi_c, measured, tolerance))
        found += [
            Claim(
                name=f"{where}: {name}",
                source=paper,
                expected=float(expected),
                measured=float(measured),
                tolerance=float(tolerance),
                kind="statistical",
            )
            for name, expected, measured, tolerance in rows
        ]
    return found


# The accuracy from which a network counts as one that learns; chance is 0.1.
_LEARNS = 0.5


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Constants, drawn networks, and where deep ones can be trained."""
    return [*_exact_claims(dataset), *_drawn_claims(dataset), *_trained_claims(dataset)]


def _trained_claims(dataset: xr.Dataset) -> list[Claim]:
    """Of the deepest networks that learn at all: those near the edge do."""
    best_of_depth = dataset["accuracy"].max("trained_weight_variance")
    learns = dataset["depth"].values[best_of_depth.values > _LEARNS]
    depth = int(learns.max()) if learns.size else int(dataset["depth"].max())
    deepest = dataset["accuracy"].sel(depth=depth)
    variances = deepest["trained_weight_variance"]
    best = float(variances[int(deepest.argmax("trained_weight_variance"))])
    ordered = float(deepest.sel(trained_weight_variance=1.0, method="nearest"))
    return [
        reported(
            "depth of the deepest networks that learn in the steps they have",
            "Schoenholz et al. 2017, figure 5: deeper ones take longer",
            depth,
        ),
        Claim(
            name="best weight variance over the critical one, at that depth",
            source="Schoenholz et al. 2017, figure 5: trainable near the edge of chaos",
            expected=1.0,
            measured=best / dataset.attrs["critical_weight_variance"],
            tolerance=0.3,
            kind="qualitative",
        ),
        Claim(
            name="accuracy far in the ordered phase (weight variance 1), at that depth",
            source="Schoenholz et al. 2017, figure 5: 6 xi_c is 22 layers there",
            expected=0.2,
            measured=ordered,
            kind="qualitative",
            relation="<=",
        ),
        Claim(
            name="best accuracy less that at weight variance 1, at that depth",
            source="Schoenholz et al. 2017, figure 5",
            expected=0.3,
            measured=float(deepest.max()) - ordered,
            kind="qualitative",
            relation=">=",
        ),
    ]
