"""The sigmoid together with its complement, for gates that multiply by both."""

import jax
import jax.numpy as jnp
from jax import Array

_Pair = tuple[Array, Array]


@jax.custom_jvp
def sigmoid_and_complement(x: Array) -> _Pair:
    r"""$\sigma(x)$ and $\sigma(-x)$ of float32 or float64, both from one exponential.

    The derivatives are plus and minus their product, so none is made of a difference.
    """
    t = jnp.exp(-jnp.abs(x))
    large = 1 / (1 + t)
    small = t * large
    return jnp.where(x < 0, small, large), jnp.where(x < 0, large, small)


@sigmoid_and_complement.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[_Pair, _Pair]:
    (x,), (dx,) = primals, tangents
    value, complement = sigmoid_and_complement(x)
    slope = value * complement * dx
    return (value, complement), (slope, -slope)
