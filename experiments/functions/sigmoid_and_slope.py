r"""The sigmoid and its slope: where a neuron listens, and where it does not.

Figure: the sigmoid with its saturated zones, where its slope is below 1/100, shaded, and its
tangent 1/2 + z/4, with tanh and ReLU beside it; the slopes of the three; what is left of a gradient
behind a chain of units that all stand at the same place of their curve.

    python -m experiments run sigmoid_and_slope

Time on 2 CPU cores: quick 3 s, paper 3 s. Must show: the slope is $\sigma(1 - \sigma)$, largest at
0 and 1/4 there; 30 units at their best leave $4^{-30}$ of a gradient, 30 active ReLUs all of it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

import sigjax
from experiments.harness import Claim, Settings, Within
from experiments.harness.style import MEANING
from sigjax.initializers import prior_bias

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": sigjax.sigmoid,
    "tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
}
SPAN = 20.0  # beyond it the slope is below 2e-9
LEVEL = 0.01  # of the slope, below which a neuron counts as saturated, and of the output
_DRAWN = 1_001  # points of a curve in the figure

# Chains of units: their activation, and the place of its curve where every unit stands.
CHAINS = {
    "ReLU, active": ("ReLU", 1.0),
    "tanh at 1": ("tanh", 1.0),
    "sigmoid at 0": ("sigmoid", 0.0),
    "sigmoid at 1": ("sigmoid", 1.0),
    "sigmoid at its 0.99": ("sigmoid", math.log(99)),
    "ReLU, inactive": ("ReLU", -1.0),
}
UNITS = 30


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """How densely the line is sampled."""

    points: Annotated[int, Within(2_001)] = 40_001
    """Arguments from -20 to 20, with 0 in the middle."""

    @classmethod
    def quick(cls) -> "Config":
        """40,001 arguments."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """4,000,001 arguments."""
        return cls(points=4_000_001)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Values and automatic derivatives in float64."""
    with jax.enable_x64(True):
        half = np.linspace(0, SPAN, config.points // 2 + 1)
        z = np.concatenate([-half[:0:-1], half])
        curves = {name: _with_slopes(f, jnp.asarray(z)) for name, f in ACTIVATIONS.items()}
        chains = [_chain(ACTIVATIONS[name], place) for name, place in CHAINS.values()]
        prior = prior_bias(0.9)(key, (), jnp.float64)
        bias, said = float(prior), float(sigjax.sigmoid(prior))
        slope_at_1, slope_at_minus_1 = (
            float(jax.grad(sigjax.sigmoid)(jnp.float64(place))) for place in (1.0, -1.0)
        )
    value, slope = curves["sigmoid"]
    relu_slope = curves["ReLU"][1]
    numpys = 1 / (1 + np.exp(-z))  # NumPy knows nothing of the library
    right, thinned = z >= 0, slice(None, None, -(-z.size // _DRAWN))
    return xr.Dataset(
        {
            "value": (("activation", "z"), np.stack([c[0][thinned] for c in curves.values()])),
            "slope": (("activation", "z"), np.stack([c[1][thinned] for c in curves.values()])),
            "passed": (("chain", "units"), np.stack(chains)),
            "largest_slope": float(slope.max()),
            "largest_slope_at": float(z[slope.argmax()]),
            "slope_at_1": slope_at_1,
            "slope_at_minus_1": slope_at_minus_1,
            "from_identity": float(np.abs(slope - numpys * (1 - numpys)).max()),
            "from_symmetry": float(np.abs(value[::-1] - (1 - numpys)).max()),
            # np.interp wants what rises: the slope falls from the left to the right
            "saturated_from": float(np.interp(-LEVEL, -slope[right], z[right])),
            "output_at": float(np.interp(1 - LEVEL, value, z)),
            "relu_not_1": int(np.sum(relu_slope[z > 0] != 1)),
            "relu_not_0": int(np.sum(relu_slope[z < 0] != 0)),
            "prior_bias": bias,
            "prior_output": said,
        },
        coords={
            "activation": list(ACTIVATIONS),
            "z": z[thinned],
            "chain": list(CHAINS),
            "units": range(1, UNITS + 1),
        },
    )


def _with_slopes(function: Callable[[Array], Array], z: Array) -> tuple[np.ndarray, np.ndarray]:
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(function)))(z)
    return np.asarray(values), np.asarray(slopes)


def _chain(function: Callable[[Array], Array], place: float) -> np.ndarray:
    """What is left of a gradient behind 1, 2, ... units that all stand at one place.

    The unit f(place + x) - f(place) takes 0 to 0, so that the next stands there, too.
    """

    def through(x: Array) -> Array:
        def unit(x: Array, _: None) -> tuple[Array, Array]:
            after = function(place + x) - function(jnp.full((), place, x.dtype))
            return after, after

        return jax.lax.scan(unit, x, None, length=UNITS)[1]

    return np.asarray(jax.jit(jax.jacfwd(through))(jnp.zeros((), jnp.float64)))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Closed forms, held against values and automatic derivatives."""
    article = "the article"
    last = dataset["passed"].sel(units=UNITS)
    at_1 = math.e / (1 + math.e) ** 2

    def exact(name, source, expected, measured, tolerance=0.0):
        number = float(measured)
        return Claim(name, source, expected, number, tolerance=tolerance, kind="exact")

    return [
        exact("largest slope of the sigmoid", article, 0.25, dataset["largest_slope"]),
        exact("argument of the largest slope", article, 0.0, dataset["largest_slope_at"]),
        exact("slope at 1", "e/(1 + e)^2", at_1, dataset["slope_at_1"], 1e-15),
        exact("slope at -1", "the same: it is even", at_1, dataset["slope_at_minus_1"], 1e-15),
        exact(
            "largest distance of the slope from sigma(1 - sigma), by NumPy",
            f"{article}; 1 - sigma has the rounding of sigma: 2 ulp of numbers below 1",
            0.0,
            dataset["from_identity"],
            2 * 2.0**-53,
        ),
        exact(
            "largest distance of sigma(-z) from 1 - sigma(z), by NumPy",
            "the odds of no are one over those of yes; both are rounded: an ulp each",
            0.0,
            dataset["from_symmetry"],
            2 * 2.0**-53,
        ),
        exact(
            "|z| from which on the slope is below 0.01",
            "log((1 + r)/(1 - r)) with r^2 = 1 - 0.04, where s(1 - s) = 0.01",
            2 * math.atanh(math.sqrt(1 - 4 * LEVEL)),
            dataset["saturated_from"],
            1e-5,  # of linear interpolation: (step of 0.001)^2 / 8 times f''/f', with room
        ),
        exact(
            "z where the output is 0.99",
            "the log-odds, log 99",
            math.log(99),
            dataset["output_at"],
            1e-5,
        ),
        exact(
            "bias that makes a neuron without weights say 0.9",
            f"{article}: log 9",
            math.log(9),
            dataset["prior_bias"],
            1e-15,
        ),
        exact("output at that bias", article, 0.9, dataset["prior_output"], 2.0**-53),
        exact("active ReLUs whose slope is not exactly 1", article, 0.0, dataset["relu_not_1"]),
        exact("inactive ReLUs whose slope is not exactly 0", article, 0.0, dataset["relu_not_0"]),
        exact(
            f"gradient behind {UNITS} active ReLUs", article, 1.0, last.sel(chain="ReLU, active")
        ),
        exact(
            f"gradient behind {UNITS} sigmoids at their steepest, times 4^{UNITS}",
            f"{article}: at most 1/4 a layer",
            1.0,
            last.sel(chain="sigmoid at 0") * 4.0**UNITS,
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Three curves, their slopes, and what a chain of units leaves of a gradient."""
    figure, (curves, slopes, chains) = plt.subplots(1, 3, figsize=(13, 4))
    edge = float(dataset["saturated_from"])
    near = dataset.sel(z=slice(-7, 7))
    for panel, name in ((curves, "value"), (slopes, "slope")):
        for side in (-7, edge):
            panel.axvspan(side, side + 7 - edge, color="0.88", linewidth=0)
        for activation in ACTIVATIONS:
            curve = near[name].sel(activation=activation)
            panel.plot(near["z"], curve, color=MEANING[activation.lower()], label=activation)
        panel.set_xlim(-7, 7)
        panel.set_xlabel("evidence z (1)")
    curves.plot([-2.6, 2.6], [0.5 - 0.65, 0.5 + 0.65], "k--", linewidth=1, label="1/2 + z/4")
    curves.set_ylim(-1.15, 2.05)
    curves.set_ylabel("output (1)")
    curves.set_title("a switch with a linear heart")
    curves.legend(loc="upper left")
    curves.text(6.8, -1.1, "saturated", ha="right", va="bottom", fontsize=8)
    at_1 = float(dataset["slope_at_1"])
    slopes.plot([-1, 0, 1], [at_1, 0.25, at_1], "ko", markersize=4)
    slopes.text(-2.4, 0.27, "1/4 at 0", ha="right", fontsize=8)
    slopes.text(2.4, at_1, f"{at_1:.4f} at ±1", va="center", fontsize=8)
    slopes.set_ylabel("slope (1)")
    slopes.set_title(f"saturated: sigmoid's slope below {LEVEL}, |z| > {edge:.2f}")
    for chain, (activation, _) in CHAINS.items():
        colour = MEANING[activation.lower()]
        passed = dataset["passed"].sel(chain=chain)
        if float(passed.max()) > 0:  # 0 has no place on a logarithmic axis
            chains.semilogy(dataset["units"], passed, color=colour)
            end = (UNITS, float(passed[-1]))
            chains.annotate(
                chain, end, (4, -3), textcoords="offset points", fontsize=8, color=colour
            )
    chains.set_xlim(1, UNITS)
    chains.set_yticks(10.0 ** -np.arange(0, 70, 10))
    chains.set_xlabel("units in a chain")
    chains.set_ylabel("share of the gradient that passes (1)")
    chains.set_title("ten sigmoids at their best leave a millionth")
    return figure
