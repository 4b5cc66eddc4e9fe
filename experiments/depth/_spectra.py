"""Singular values of the Jacobians of random networks: drawn, and in theory."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from experiments.harness import over_devices
from sigjax.theory import critical_line, jacobian_density, jacobian_moments

from ._choice import choice
from ._initializers import GAUSSIAN
from ._orthogonal import orthogonal

ENSEMBLES = ("orthogonal", "gaussian")
KERNELS = (orthogonal, GAUSSIAN)  # in the same order
ACTIVATIONS = (jnp.tanh, jax.nn.relu)
# Least singular value that is shown, over the largest: a little below it, the theory's density
# cannot be computed. Most values of a deep Gaussian network are smaller still. So the share of the
# values above s is drawn: what it lacks of 1 at the left edge is the share of those.
_LEAST = 2e-3
# Of the power method. The error of its Rayleigh quotient is the square of what is left of the other
# eigenvectors, which depends on the gap at the spectrum's edge, of order width^(-2/3).
_POWER_STEPS = 300


def scales(activation: int, q: float) -> tuple[float, float]:
    """Weight and bias std of the critical network with pre-activations of variance q."""
    if ACTIVATIONS[activation] is jax.nn.relu:
        return 2**0.5, 0.0  # He's: every variance is reproduced
    weight_std, bias_std = critical_line(jnp.tanh, q)
    return float(weight_std), float(bias_std)


class Spectra(NamedTuple):
    """Of the Jacobians of drawn networks, in float64.

    Attributes:
      variance: of the squared singular values over their squared mean, `[draw]`.
      edge: the largest squared singular value over that mean, `[draw]`.
      jacobian: `[draw, width, width]`.
    """

    variance: np.ndarray
    edge: np.ndarray
    jacobian: np.ndarray


def draw_spectra(
    key: Array, activation: int, ensemble: str, q: float, *, width: int, depth: int, draws: int
) -> Spectra:
    """Draws networks and their Jacobians J = prod D_l W_l on inputs of variance q."""
    keys = jax.random.split(key, draws)
    numbers = jnp.array([activation, ENSEMBLES.index(ensemble), depth], jnp.int32)
    floats = jnp.array([q**0.5, *scales(activation, q)], jnp.float32)
    arguments = keys, jnp.tile(numbers, (draws, 1)), jnp.tile(floats, (draws, 1))
    found = over_devices(_drawing(width), *arguments, one_by_one=True)
    return Spectra(*(np.asarray(part, np.float64) for part in found))


@functools.cache
def _drawing(width: int) -> Callable[[Array, Array, Array], tuple[Array, Array, Array]]:
    kernels = [lambda key, draw=draw: draw(key, (width, width), jnp.float32) for draw in KERNELS]

    def draw(key: Array, numbers: Array, floats: Array) -> tuple[Array, Array, Array]:
        activation, ensemble, depth = numbers
        root_q, weight_std, bias_std = floats
        for_input, for_biases, for_layers = jax.random.split(key, 3)

        def through(z: Array) -> tuple[Array, Array]:
            h, pullback = jax.vjp(choice(ACTIVATIONS, activation), z)
            return h, pullback(jnp.ones_like(h))[0]

        def layer(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            z, product = state
            key = jax.random.fold_in(for_layers, index)
            kernel = weight_std * lax.switch(ensemble, kernels, key)
            h, slope = through(z)
            biases = jax.random.normal(jax.random.fold_in(for_biases, index), (width,))
            # J takes the input as a layer's pre-activation.
            return h @ kernel + bias_std * biases, kernel.T @ (slope[:, None] * product)

        z = root_q * jax.random.normal(for_input, (width,))
        _, product = lax.fori_loop(0, depth, layer, (z, jnp.eye(width)))
        squares = product.T @ product
        mean = jnp.trace(squares) / width
        squares /= mean
        # Without LAPACK, whose threads spin: traces, and the power method.
        variance = jnp.sum(jnp.square(squares)) / width - 1

        def iterate(_: int | Array, vector: Array) -> Array:
            vector = squares @ vector
            return vector / jnp.linalg.norm(vector)

        top = lax.fori_loop(0, _POWER_STEPS, iterate, jnp.ones(width) / width**0.5)
        return variance, top @ squares @ top, product

    return draw


def share_above(
    activation: int, ensemble: str, q: float, *, depth: int
) -> tuple[np.ndarray, np.ndarray]:
    """In theory: singular values, and the share of all of them that is larger than each."""
    weight_std, _ = scales(activation, q)
    network: tuple[Any, float, float] = (ACTIVATIONS[activation], weight_std, q)
    top = float(jacobian_moments(*network, depth=depth, ensemble=ensemble).largest) ** 0.5
    s = np.geomspace(_LEAST * top, 1.02 * top, 300)
    found = jacobian_density(*network, s, depth=depth, ensemble=ensemble)
    density = np.asarray(found, np.float64)
    pieces = np.diff(s) * (density[1:] + density[:-1]) / 2
    return s, np.append(np.cumsum(pieces[::-1])[::-1], 0.0)
