"""Ways to write the sigmoid in float32, to be weighed by accuracy and time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

import sigjax
from sigjax.functional import _exponentials as blocks

Form = Callable[[Array], Array]


def _textbook(x: Array) -> Array:
    return 1 / (1 + jnp.exp(-x))


def _one_exponential(x: Array) -> Array:
    """XLA's exp of -|x|, which cannot overflow."""
    t = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, t, 1.0) / (1 + t)


def _hyperbolic_tangent(x: Array) -> Array:
    """A rational core: XLA's tanh."""
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _upper_half(x: Array) -> Array:
    """The first 12 bits of a float32, whose products with such numbers are exact."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return lax.bitcast_convert_type(bits & jnp.int32(-4096), jnp.float32)


def _compensated(x: Array) -> Array:
    """Faithful in float32 alone: e^-|x| and 1 + e^-|x| in two parts, the quotient corrected."""
    tail = blocks.decay(blocks.magnitude(x))
    _, s, lost = blocks.exp_parts_in_two(blocks.magnitude(x))
    power = tail.power
    base = 1 + power
    denominator = base + power * s
    rest = ((base - denominator) + power * s) + power * lost
    quotient = 1 / denominator
    q, d = _upper_half(quotient), _upper_half(denominator)
    q_low, d_low = quotient - q, denominator - d
    excess = ((1 - q * d) - (q * d_low + q_low * d)) - q_low * d_low
    correction = quotient * (excess - quotient * rest)
    # sigma(-a) = t sigma(a), summed from its largest part
    left = power * (quotient + (quotient * s + (correction * (1 + s) + quotient * lost)))
    # 1 + 2^-n is not exact beyond n = 23, but then 1/(1 + t) is 1 - t + t^2
    t, small = tail.t, power < 2.0**-13
    right = jnp.where(small, 1 - (t - t * t), quotient + correction)
    left = jnp.where(small, power * (1 + (s + (lost - t * (1 + s)))), left)
    return jnp.where(x < 0, left, right)


def _faithful(x: Array) -> Array:
    return sigjax.sigmoid(x, faithful=True)


# label: (form, first derivative as autodiff or a closed form gives it)
FORMS: dict[str, tuple[Form, Form | None]] = {
    "jax.nn.sigmoid": (jax.nn.sigmoid, jax.grad(lambda x: jax.nn.sigmoid(x).sum())),
    "1/(1 + exp(-x))": (_textbook, jax.grad(lambda x: _textbook(x).sum())),
    "one exp of -|x|": (_one_exponential, jax.grad(lambda x: _one_exponential(x).sum())),
    "tanh": (_hyperbolic_tangent, jax.grad(lambda x: _hyperbolic_tangent(x).sum())),
    "sigjax": (sigjax.sigmoid, sigjax.sigmoid_derivative),
    "compensated float32": (_compensated, None),
    "sigjax, faithful": (_faithful, lambda x: sigjax.sigmoid_derivative(x, faithful=True)),
}
