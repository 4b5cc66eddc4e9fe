r"""The sigmoid's linear heart: how far 1/2 + z/4 can be trusted, and why so far.

Figure: the sigmoid and its tangent; the tangent's error and the proved bound
$\min(|z|^3/48, |z|/4)$ over twelve decades; slope and curvature at the centre; tanh computed as
$2\sigma(2z) - 1$, in units of the last place.

    python -m experiments run linear_heart

Time on 2 CPU cores: quick 3 s, paper 4 s. Must show: the curvature at 0 is exactly 0, so the error
is of third order; the bound is never crossed and is sharp at both ends; the textbook rescaling
loses every digit of tanh near 0, `tanh_from_sigmoid` none.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

import sigjax
from experiments.harness import Claim, Settings, Within, reported
from experiments.oracle.ulps import ulp_errors

# The article's "small but significant range": where the tangent is within 1 % of the sigmoid.
PERCENT = 0.01
FORMS = ("2 σ(2z) − 1", "tanh_from_sigmoid", "jax.numpy.tanh")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """How densely the line is sampled."""

    points: Annotated[int, Within(20_000)] = 200_000
    """Arguments of either sign, logarithmically spaced."""

    @classmethod
    def quick(cls) -> "Config":
        """200,000 arguments."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """5,000,000 arguments."""
        return cls(points=5_000_000)


def measure(config: Config, key: Array) -> xr.Dataset:
    """The tangent's error in float64 where it can be resolved; tanh in float32 against float64."""
    del key  # nothing is drawn
    with jax.enable_x64(True):
        # Below 1e-4 the error, z^3/48, is under float64's rounding of the two values near 1/2.
        z = np.geomspace(1e-4, 1e3, config.points // 2)
        z = np.concatenate([-z[::-1], z])
        # sigma(z) - 1/2 = tanh(z/2)/2 is taken from numpy, to which the library is a stranger.
        error = np.abs(np.tanh(z / 2) / 2 - z / 4)
        bound = np.asarray(sigjax.sigmoid_linear_error(jnp.asarray(z)))
        # both sides are rounded: half an ulp of each term
        rounding = np.finfo(np.float64).eps * np.abs(z)
        gap = np.asarray(sigjax.sigmoid(jnp.asarray(z)) - sigjax.sigmoid_linear(jnp.asarray(z)))
        small = np.geomspace(1e-6, 20.0, config.points // 2).astype(np.float32)
        truth = jnp.tanh(jnp.asarray(small, jnp.float64))
        x = jnp.asarray(small)
        values = (2 * sigjax.sigmoid(2 * x) - 1, sigjax.tanh_from_sigmoid(x), jnp.tanh(x))
        ulps = [
            np.asarray(ulp_errors(value.astype(jnp.float64), truth, "float32").ulp)
            for value in values
        ]
        centre = jnp.zeros((), jnp.float64)
        derivatives = [float(sigjax.sigmoid_derivative(centre, n)) for n in range(6)]
    # A figure needs no more than this many points of each curve: the largest of every stretch.
    return xr.Dataset(
        {
            "error": ("z", _largest_of(error)),
            "bound": ("z", _largest_of(bound)),
            "excess": float(np.max(error - bound - rounding)),
            "difference": float(np.max(np.abs(np.abs(gap) - error) / (np.abs(z) / 4 + 1))),
            "percent_reach": float(np.min(np.abs(z[error > PERCENT]))),
            "inner_sharpness": float(error[np.argmin(np.abs(z - 0.01))] / (0.01**3 / 48)),
            "outer_sharpness": float(error[-1] / bound[-1]),
            "ulp": (("form", "x"), np.stack([_largest_of(u) for u in ulps])),
            "derivative": ("order", derivatives),
        },
        coords={
            "z": _first_of(z),
            "x": _first_of(small.astype(np.float64)),
            "form": list(FORMS),
            "order": range(6),
        },
    )


_STRETCHES = 400


def _largest_of(values: np.ndarray) -> np.ndarray:
    return np.array([part.max() for part in np.array_split(values, _STRETCHES)])


def _first_of(values: np.ndarray) -> np.ndarray:
    return np.array([part[0] for part in np.array_split(values, _STRETCHES)])


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Taylor's series, the bound and its sharpness, tanh to the last place."""
    article = "the article: slope 1/4 at the centre, curvature exactly zero"
    found = [
        # Taylor coefficients of 1/(1 + e^-z): 1/2, 1/4, 0, -1/48, 0, 1/480, times n!
        Claim(
            name=f"derivative {order} of the sigmoid at 0",
            source=article if order < 3 else "Taylor's series of the logistic function",
            expected=expected,
            measured=float(dataset["derivative"].sel(order=order)),
            tolerance=0.0 if order < 3 else 1e-16,
            kind="exact",
        )
        for order, expected in enumerate((0.5, 0.25, 0.0, -0.125, 0.0, 0.25))
    ]
    source = "Taylor's remainder with |sigma'''| <= 1/8, and |tanh(z/2)| <= |z/2|"
    found += [
        Claim(
            name="largest excess of |sigma(z) - 1/2 - z/4| over min(|z|^3/48, |z|/4)",
            source=source,
            expected=0.0,
            measured=float(dataset["excess"]),
            kind="exact",
            relation="<=",
        ),
        Claim(
            name="sigmoid less sigmoid_linear: largest distance from tanh(z/2)/2 - z/4, by NumPy",
            source="sigma(z) - 1/2 = tanh(z/2)/2; over |z|/4 + 1, the size of what is rounded",
            expected=0.0,
            measured=float(dataset["difference"]),
            tolerance=4 * float(np.finfo(np.float64).eps),
            kind="exact",
        ),
        Claim(
            name="error over the bound at z = 0.01",
            source="the next term of the series is -z^2/10 of it",
            expected=1 - 0.01**2 / 10,
            measured=float(dataset["inner_sharpness"]),
            tolerance=1e-3,
            kind="exact",
        ),
        Claim(
            name="error over the bound at z = 1000",
            source="|sigma - 1/2| is at most 1/2: 1 - 2/z",
            expected=1 - 2 / 1000,
            measured=float(dataset["outer_sharpness"]),
            tolerance=1e-9,
            kind="exact",
        ),
        Claim(
            name="smallest |z| where 1/2 + z/4 is off by 0.01",
            source="the root of z/4 - tanh(z/2)/2 = 0.01, by bisection in float64",
            expected=0.7992924,
            measured=float(dataset["percent_reach"]),
            tolerance=1e-3,
            kind="exact",
        ),
    ]
    for form in FORMS:
        name = f"tanh in float32 by {form}: largest error in ulp"
        ulp = float(dataset["ulp"].sel(form=form).max())
        if form == "tanh_from_sigmoid":
            promise = "this project's promise for float32"
            found.append(Claim(name, promise, 2.5, ulp, kind="exact", relation="<="))
        else:
            found.append(reported(name, "for comparison", ulp))
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """The line in the curve, the error in its bound, and the price of rescaling."""
    figure, (heart, error, rescaled) = plt.subplots(1, 3, figsize=(13, 4))
    z = np.linspace(-6, 6, 401)
    heart.plot(z, 0.5 + np.tanh(z / 2) / 2, label="σ(z)")
    inner = z[np.abs(z) < 2.4]
    heart.plot(inner, 0.5 + inner / 4, "--", label="1/2 + z/4")
    reach = float(dataset["percent_reach"])
    heart.axvspan(-reach, reach, color="0.85", label=f"within 0.01 of it: |z| < {reach:.2f}")
    heart.plot(0, 0.5, "ko", markersize=4, label="slope 1/4, curvature 0")
    heart.set_xlabel("evidence z (1)")
    heart.set_ylabel("output (1)")
    heart.set_title("a linear heart in a curved body")
    heart.legend(loc="upper left")
    half = dataset.where(dataset["z"] > 0, drop=True)
    error.loglog(half["z"], half["bound"], "--", color="0.2", label="bound min(z³/48, z/4)")
    error.loglog(half["z"], half["error"], label="|σ(z) − 1/2 − z/4|")
    error.axvline(reach, color="0.6", linewidth=1)
    error.axhline(PERCENT, color="0.6", linewidth=1)
    error.set_xlabel("z (1)")
    error.set_ylabel("error of the line (1)")
    error.set_title("third order: no curvature at 0")
    error.legend()
    for form, marker in zip(FORMS, ("-", "-", ":"), strict=True):
        # a curve of maxima; 0 cannot be drawn on a logarithmic axis
        rescaled.loglog(
            dataset["x"], np.maximum(dataset["ulp"].sel(form=form), 0.01), marker, label=form
        )
    rescaled.axhline(0.5, color="0.4", linewidth=1)
    rescaled.text(2e-6, 0.45, "½: correctly rounded", va="top", fontsize=8)
    rescaled.set_xlabel("z (1)")
    rescaled.set_ylabel("largest error of tanh(z), float32 (ulp)")
    rescaled.set_title("tanh is a rescaled sigmoid, if rescaled with care")
    rescaled.legend()
    return figure
