"""The RG-LRU as its authors' code computes it in bfloat16, beside which ours is measured.

After google-deepmind/recurrentgemma: gates, decay and $1 - a^2$ in the dtype of the inputs, the
state in float32, and the derivative of the root clipped at 1,000 "to prevent NaNs".
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

import sigjax.nn as snn

_LARGEST_SLOPE = 1000.0


@jax.custom_vjp
def _root(x: Array) -> Array:
    return jnp.sqrt(x)


def _slope(x: Array, cotangent: Array) -> tuple[Array]:
    return (cotangent / (2 * jnp.sqrt(jnp.maximum(x, 1 / (4 * _LARGEST_SLOPE**2)))),)


_root.defvjp(lambda x: (jnp.sqrt(x), x), _slope)


def gate_logits(weights: Mapping[str, Array], x: Array) -> Array:
    """Inputs `[..., features]` times the blocks of a gate, plus its bias, in the inputs' dtype."""
    kernel, bias = (weights[part].astype(x.dtype) for part in ("kernel", "bias"))
    blocks, width, _ = kernel.shape
    z = jnp.einsum("...hi,hij->...hj", x.reshape(*x.shape[:-1], blocks, width), kernel)
    return (z + bias).reshape(x.shape)


def decay_and_multiplier(weights: Mapping[str, Any], x: Array) -> tuple[Array, Array, Array]:
    """a, $\\sqrt{1 - a^2}$ and the input gate, in the dtype of the inputs `[..., features]`."""

    def gate(name: str) -> Array:
        return jax.nn.sigmoid(gate_logits(weights[name], x))

    log_a = -8.0 * gate("a_gate") * jax.nn.softplus(weights["a_param"].astype(x.dtype))
    return jnp.exp(log_a), _root(1 - jnp.exp(2 * log_a)), gate("input_gate")


def clipped_rg_lru(weights: Mapping[str, Any], x: Array, first: Array) -> Array:
    """States `[time, ..., features]` of inputs of that shape.

    Args:
      weights: the parameters of a `sigjax.nn.RGLRU`, as `nnx.to_pure_dict` names them.
      x: inputs.
      first: the state before them, float32, `[..., features]`.
    """
    decay, multiplier, opening = decay_and_multiplier(weights, x)
    # What the loop takes and gives is turned into float32, and back, outside of it: XLA's loops on
    # CPUs turn a whole stack of bfloat16 numbers at each step. The barrier keeps products rounded
    # to bfloat16, so that all numbers are those of a loop over bfloat16, to the last bit.
    rounded = jax.lax.optimization_barrier((decay, x * opening * multiplier))

    def step(state: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        a, inflow = given
        state = a * state + inflow
        return state, state

    wide = jax.tree.map(lambda part: part.astype(jnp.float32), rounded)
    return jax.lax.scan(step, first, wide)[1].astype(x.dtype)


class ClippedRGLRU(nnx.Module):
    """Runs `clipped_rg_lru` over `[batch, time, features]` with a unit's parameters."""

    def __init__(self, unit: snn.RGLRU):
        self.unit = unit

    def __call__(self, inputs: Array) -> Array:
        weights = nnx.to_pure_dict(nnx.state(self.unit, nnx.Param))
        x = inputs.astype(self.unit.dtype or inputs.dtype)
        first = jnp.zeros((len(x), x.shape[-1]), jnp.float32)
        states = clipped_rg_lru(weights, jnp.moveaxis(x, 1, 0), first)
        return jnp.moveaxis(states, 0, 1)
