"""A learning curve that is a logistic curve by theorem."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..functional._arguments import check_numbers, check_shapes


def saxe_curve(
    time: ArrayLike,
    singular_value: ArrayLike,
    initial: ArrayLike,
    time_constant: ArrayLike = 1.0,
) -> Array:
    r"""The strength $u(t)$ of one mode of a linear network with one hidden layer.

    Gradient flow from balanced weights obeys $\tau \dot u = 2 u (s - u)$, whose solution

    $$u(t) = \frac{s\, e^{2st/\tau}}{e^{2st/\tau} - 1 + s/u_0}
           = s\, \sigma\Big(\frac{2st}{\tau} - \log\Big(\frac{s}{u_0} - 1\Big)\Big)$$

    is a sigmoid of time: a plateau, a fast rise around $t_{1/2}$, saturation at $s$.

    Args:
      time: $t$, in the units of `time_constant`.
      singular_value: $s$, of the input-output correlation; 0 and negative values decay.
      initial: $u_0 > 0$; the arguments broadcast.
      time_constant: $\tau$, the inverse of learning rate times examples.

    Returns:
      $u(t)$, exact to rounding also for $u_0 \ge s$.

    Example:
      >>> print(f"{saxe_curve(10.0, 1.0, 1e-6):.4f}")
      0.9979

    References:
      Saxe, McClelland & Ganguli 2014, ICLR (arXiv:1312.6120), equations 7 and 8.
    """
    given = {"time": time, "singular_value": singular_value}
    given |= {"initial": initial, "time_constant": time_constant}
    check_numbers(**given)
    check_shapes("saxe_curve", **given)
    time, s, initial, tau = (
        jnp.asarray(x, float) for x in (time, singular_value, initial, time_constant)
    )
    slow = 2 * time / tau
    x = s * slow
    # s divided out of the closed form: what is left holds for s = 0 and loses no digit near it.
    small = jnp.abs(x) < 1e-4  # the fourth term of the series left out is below 1e-18
    series = 1 - x / 2 * (1 - x / 3 * (1 - x / 4))
    growth = jnp.where(small, series, -jnp.expm1(-x) / jnp.where(small, 1.0, x))
    return initial / (initial * slow * growth + jnp.exp(-x))


def saxe_half_time(
    singular_value: ArrayLike, initial: ArrayLike, time_constant: ArrayLike = 1.0
) -> Array:
    r"""When a mode has learned half of its strength: $\frac{\tau}{2s} \log(s/u_0 - 1)$.

    Args:
      singular_value: $s > u_0$.
      initial: $u_0 > 0$.
      time_constant: $\tau$.

    Returns:
      Time; NaN for $u_0 \ge s$, which is never below half.

    Example:
      >>> print(f"{saxe_half_time(2.0, 1e-6):.3f}")
      3.627
    """
    check_numbers(singular_value=singular_value, initial=initial, time_constant=time_constant)
    s, initial, tau = (jnp.asarray(x, float) for x in (singular_value, initial, time_constant))
    return jnp.where(initial < s, tau / (2 * s) * jnp.log(s / initial - 1), jnp.nan)
