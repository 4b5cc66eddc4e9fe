"""Wide random tanh networks, drawn: what becomes of signals and gradients from layer to layer."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from experiments.harness import over_devices

_INPUTS = 16  # of correlation 1/2 with each other
_NEAR = 4  # more, at 1 - c = 0.001 from the first of them: small, so that the map is straight
_DISTANCE = 1e-3
_COTANGENTS = 8
# Correlations so near to the fixed point that the map is taken to be straight there.
_STRAIGHT = 0.2
# Below it float32's rounding of what 1 - c is made of, 1e-15, would count: see `_follower`.
_TOLD_APART = 1e-10
# Layers next to the input have not reached the fixed point.
EDGE = 5


class Drawn(NamedTuple):
    """What was seen in networks, `[draw, ...]` in float64.

    Attributes:
      q: mean square of the pre-activations, `[draw, layer]`.
      c: correlation of the pre-activations of every two inputs, `[draw, layer, pair]`.
      near: 1 - c for inputs that are nearly the same, `[draw, layer, input]`.
      factor: mean squared growth of gradients through a layer, `[draw]`, away from the input.
    """

    q: np.ndarray
    c: np.ndarray
    near: np.ndarray
    factor: np.ndarray


def draw_networks(
    key: Array, weight_std: float, bias_std: float, *, width: int, depth: int, draws: int
) -> Drawn:
    """Draws networks with Gaussian weights and biases, and follows some inputs through each."""
    keys = jax.random.split(key, draws)
    stds = jnp.tile(jnp.array([weight_std, bias_std], jnp.float32), (draws, 1))
    found = over_devices(_follower(width, depth), keys, stds, one_by_one=True)
    return Drawn(*(np.asarray(part, np.float64) for part in found))


@functools.cache
def _follower(width: int, depth: int) -> Callable[[Array, Array], tuple[Array, ...]]:
    def follow(key: Array, stds: Array) -> tuple[Array, ...]:
        for_inputs, for_layers, for_top = jax.random.split(key, 3)
        noise = jax.random.normal(for_inputs, (1 + _INPUTS + _NEAR, width))
        far = (noise[0] + noise[1 : 1 + _INPUTS]) / 2**0.5
        cosine = 1 - _DISTANCE
        near = cosine * far[0] + (1 - cosine**2) ** 0.5 * noise[1 + _INPUTS :]
        one, other = jnp.triu_indices(_INPUTS, 1)

        # The last row of a layer's drawing is its biases.
        scales = jnp.full((width + 1, 1), stds[0] / width**0.5).at[-1].set(stds[1])

        def layer(h: Array, key: Array) -> tuple[Array, tuple[Array, ...]]:
            drawn = scales * jax.random.normal(key, (width + 1, width))
            z = h @ drawn[:-1] + drawn[-1]
            unit = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
            c = (unit[:_INPUTS] @ unit[:_INPUTS].T)[one, other]
            # 1 - c without the cancellation of that difference, which ends at 1e-7
            distance = jnp.sum(jnp.square(unit[_INPUTS:] - unit[0]), -1) / 2
            return jnp.tanh(z), (jnp.mean(jnp.square(z)), c, distance, z[0], drawn[:-1])

        inputs = jnp.concatenate([far, near])
        _, (q, c, distance, z, kernels) = lax.scan(
            layer, inputs, jax.random.split(for_layers, depth)
        )

        def back(delta: Array, layer: tuple[Array, Array]) -> tuple[Array, Array]:
            kernel, z = layer
            lower = (1 - jnp.square(jnp.tanh(z))) * (delta @ kernel.T)
            square = jnp.sum(jnp.square(lower), -1, keepdims=True)
            return lower / jnp.sqrt(square), jnp.mean(square)

        top = jax.random.normal(for_top, (_COTANGENTS, width))
        top /= jnp.linalg.norm(top, axis=-1, keepdims=True)
        _, factor = lax.scan(back, top, (kernels[1:], z[:-1]), reverse=True)
        return q, c, distance, jnp.mean(factor[EDGE:])

    return follow


def correlation_slopes(drawn: Drawn, fixed: float) -> np.ndarray:
    """Slope of the correlation map at its fixed point, exp(-1 / xi_c), one for each network.

    Where all inputs become alike it is the mean factor by which 1 - c changes a layer, for inputs
    that are nearly the same. Elsewhere it is the regression of a layer's correlations on those of
    the layer below, near the fixed point: width makes them fluctuate about it.
    """
    if fixed == 1:
        below, above = drawn.near[:, EDGE:-1], drawn.near[:, EDGE + 1 :]
        return np.mean(above / below, axis=(1, 2), where=above > _TOLD_APART)
    x, y = drawn.c[:, :-1] - fixed, drawn.c[:, 1:] - fixed
    near = np.abs(x) < _STRAIGHT
    return np.array([np.polyfit(a[m], b[m], 1)[0] for a, b, m in zip(x, y, near, strict=True)])
