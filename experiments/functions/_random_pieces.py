r"""The mean of n random S-shapes against the mean of all: Maurey's law, exactly.

For $f = E \psi$ and $f_n$ the mean of n independent $\psi$ the expected squared error
$E \|f_n - f\|^2$ is $(E \|\psi\|^2 - \|f\|^2) / n$ (Maurey; Barron 1993). Here $\psi$ is a step,
or a sigmoid of gain `GAIN`, at a knot uniform on [0, 1].
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

import sigjax
from experiments.harness import over_devices

PIECES = (4, 16, 64, 256, 1024)
GAIN = 20.0


def steps_error(key: Array, pieces: int) -> Array:
    r"""$\int_0^1 (f_n - x)^2 dx$, exactly, of the mean f_n of steps at uniform knots.

    f_n is the empirical distribution of the knots: this is Cramér and von Mises' statistic over n.
    """
    knots = jnp.sort(jax.random.uniform(key, (pieces,)))
    middles = (jnp.arange(pieces, dtype=knots.dtype) + 0.5) / pieces
    return jnp.mean(jnp.square(knots - middles)) + 1 / (12 * pieces**2)


# The trapezoid rule's error is under 1e-4 of the integral: a sigmoid of gain 20 is 25 steps wide.
_NODES = 501


def _sigmoids_error(key: Array, pieces: int) -> Array:
    """The same for sigmoids of a finite gain, against their own mean, by the trapezoid rule."""
    x = jnp.linspace(0.0, 1.0, _NODES)
    knots = jax.random.uniform(key, (pieces, 1))
    drawn = jnp.mean(sigjax.sigmoid(GAIN * (x - knots)), axis=0)
    return jnp.trapezoid(jnp.square(drawn - _mean_sigmoid(x)), x)


def _mean_sigmoid(x: Array) -> Array:
    """The mean of sigma(g (x - u)) over u in [0, 1]."""
    return (sigjax.softplus(GAIN * x) - sigjax.softplus(GAIN * (x - 1))) / GAIN


def _sigmoids_law() -> float:
    """(E |psi|^2 - |f|^2), which is n times the expected error, by a fine double sum."""
    x = np.linspace(0, 1, _NODES)
    u = (np.arange(4000) + 0.5) / 4000
    values = 0.5 + np.tanh(GAIN * (x - u[:, None]) / 2) / 2
    return float(np.trapezoid((values**2).mean(axis=0) - values.mean(axis=0) ** 2, x))


def random_pieces(repeats: int, key: Array) -> xr.Dataset:
    """Squared errors `[shape, pieces, repeat]`, and n times the mean that theory gives."""
    errors = []
    for draw in (steps_error, _sigmoids_error):
        rows = []
        for pieces in PIECES:
            keys = jax.random.split(jax.random.fold_in(key, pieces), repeats)
            one = functools.partial(draw, pieces=pieces)
            rows.append(over_devices(one, keys, one_by_one=True))
        errors.append(rows)
    return xr.Dataset(
        {
            "error": (("shape", "pieces", "repeat"), np.array(errors, np.float64)),
            "law": ("shape", [1 / 6, _sigmoids_law()]),
        },
        coords={"shape": ["steps", "sigmoids"], "pieces": list(PIECES)},
    )
