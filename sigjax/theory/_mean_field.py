"""Mean field of wide random networks: how far signals and gradients go."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import check_functions, check_numbers
from ..functional._implicit import with_derivatives
from ..functional._messages import must
from ..functional._undefined import nan_unless
from ._double import in_double
from ._gaussian import DEGREES, gaussian_expectation, hermite_coefficients

Activation = Callable[[Array], Array]

_MAX_ITERATIONS = 1_000
# A fixed point is one that a layer moves by less than this share of itself; sums of 8192 terms
# are right to 1e-15.
_SETTLED = 1e-12
# Where the variance map has slope 1 (ReLU with He's weights, also when those come in float32)
# every variance is as good as a fixed point.
_MARGINAL = 1e-6
# A variance outside these has gone to 0 or to infinity. Near 0 every smooth activation is
# linear and near infinity every one of them is homogeneous, so that chi_1 no longer changes.
_VANISHED, _EXPLODED = 1e-12, 1e12
# An iteration never moves the variance by more than this factor.
_LEAP = 4.0


class MeanField(NamedTuple):
    r"""The fixed point of a wide network at initialisation, arrays of one shape.

    Attributes:
      q: $q^*$, variance of the pre-activations that a layer reproduces; 0 where the signal dies
        out, inf where it explodes (beyond $10^{12}$), NaN where no fixed point was found, or one
        below $10^{-12}$.
      chi1: $\chi_1$, mean squared singular value of a layer's Jacobian. From layer to layer the
        norm of the gradient changes by $\sqrt{\chi_1}$. Where `q` is 0 or inf, the limit on the
        way there.
      c: $c^*$, the correlation to which the signals of two inputs go; 1 where all inputs become
        alike (ordered). NaN where `q` is no positive number.
      xi_q: $\xi_q = -1 / \log \chi_q$, layers in which a deviation of the variance falls by e.
      xi_c: $\xi_c$, the same for the correlation: a network can be trained to about $6 \xi_c$
        layers. inf on the critical line.
      xi_gradient: $1 / |\log \chi_1|$, layers in which the squared gradient changes by e.
      converged: whether `q` is a fixed point, found to 12 digits.
    """

    q: Array
    chi1: Array
    c: Array
    xi_q: Array
    xi_c: Array
    xi_gradient: Array
    converged: Array


def mean_field(
    activation: Activation, weight_std: ArrayLike, bias_std: ArrayLike = 0.0
) -> MeanField:
    r"""Fixed points, gradient factor and depth scales of a wide fully connected network.

    With weights of variance $\sigma_w^2/n$ and biases of variance $\sigma_b^2$ the variance $q$
    of the pre-activations obeys $q \leftarrow V(q) = \sigma_w^2 \mathrm{E}\,\phi(\sqrt q z)^2 +
    \sigma_b^2$, $z \sim N(0, 1)$. At its fixed point the correlation of two inputs obeys
    $c \leftarrow C(c) = (\sigma_w^2 \mathrm{E}\,\phi(u_1)\phi(u_2) + \sigma_b^2)/q^*$ for normal
    $u_1, u_2$ of variance $q^*$ and covariance $q^* c$. Then $\chi_1 = C'(1) = \sigma_w^2
    \mathrm{E}\,\phi'(\sqrt{q^*} z)^2$, $\chi_q = V'(q^*)$, $\chi_c = C'(c^*)$.

    $C$ is a power series with coefficients that are not negative (Mehler), so Newton's method
    goes from 0 to its smallest fixed point without overshooting; the one at 1 is stable where
    $\chi_1 \le 1$.

    Args:
      activation: elementwise function $\phi$, of mathematics that JAX can differentiate.
      weight_std: $\sigma_w$, any shape.
      bias_std: $\sigma_b$, of a shape that broadcasts with it.

    Returns:
      `MeanField`, for the fixed point that is found from $q = 1$. Computed in float64 and given
      in the default floating dtype. Derivatives with respect to both arguments, up to the third
      order and under `jit` and `vmap`, are those of the fixed point.

    Raises:
      ValueError: if a standard deviation that is not traced is negative or not finite.

    Example:
      The logistic sigmoid with weights uniform on $\pm 1/\sqrt n$, then tanh on the edge of
      chaos and beyond:

      >>> import sigjax, jax.numpy as jnp
      >>> print(f"{mean_field(sigjax.sigmoid, 3**-0.5).chi1 ** 0.5:.5f}")
      0.14145
      >>> found = mean_field(jnp.tanh, jnp.sqrt(jnp.array([1.7, 2.0])), 0.05**0.5)
      >>> print(found.c.round(4), found.xi_c.round(2))
      [1.     0.7441] [74.92 25.21]

    References:
      Poole et al. 2016, NIPS 29. Schoenholz et al. 2017, ICLR (arXiv:1611.01232).
    """
    check_functions(activation=activation)
    refuse_negative(weight_std=weight_std, bias_std=bias_std)
    return _mean_field(activation, weight_std, bias_std)


def refuse_negative(**arguments: ArrayLike) -> None:
    """Raises ValueError for a standard deviation that is known and cannot be one."""
    for name, value in arguments.items():
        if isinstance(value, jax.core.Tracer):
            continue
        check_numbers(**{name: value})
        known = np.asarray(value, np.float64)
        if not (np.isfinite(known) & (known >= 0)).all():
            raise ValueError(must(name, "be finite and not negative", value))


def slope_of(activation: Activation) -> Activation:
    """The derivative of an elementwise function."""

    def slope(x: Array) -> Array:
        return jax.jvp(activation, (x,), (jnp.ones_like(x),))[1]

    return slope


def variance_map(
    activation: Activation, weight_std: Array, bias_std: Array
) -> Callable[[Array], Array]:
    """$V$, the variance of a layer's pre-activations given that of the layer below."""

    def following(q: Array) -> Array:
        second_moment = gaussian_expectation(lambda z: jnp.square(activation(jnp.sqrt(q) * z)))
        return jnp.square(weight_std) * second_moment + jnp.square(bias_std)

    return following


def gradient_factor(activation: Activation, weight_std: Array, q: Array) -> Array:
    r"""$\sigma_w^2 \mathrm{E}\,\phi'(\sqrt q z)^2$, which is $\chi_1$ at the fixed point."""
    slope = slope_of(activation)
    return jnp.square(weight_std) * gaussian_expectation(
        lambda z: jnp.square(slope(jnp.sqrt(q) * z))
    )


@in_double
def _mean_field(activation: Activation, weight_std: Array, bias_std: Array) -> MeanField:
    following = variance_map(activation, weight_std, bias_std)
    q = settled_variance(activation, weight_std, bias_std)
    value, slope = _with_slope(following, q)
    vanished = (q < _VANISHED) & (following(jnp.zeros_like(q)) == 0)
    exploded = q > _EXPLODED
    converged = vanished | (_is_settled(q, value, slope) & ~exploded)
    inside = converged & ~vanished
    chi1 = gradient_factor(activation, weight_std, q)
    chi_q = _with_slope(following, q)[1]
    c, chi_c = _correlation(activation, weight_std, bias_std, q, chi1)
    known = converged | exploded
    return MeanField(
        q=nan_unless(known, jnp.where(vanished, 0.0, jnp.where(exploded, jnp.inf, q))),
        chi1=nan_unless(known, chi1),
        c=nan_unless(inside, c),
        xi_q=nan_unless(converged, _depth_scale(chi_q)),
        xi_c=nan_unless(inside, _depth_scale(chi_c)),
        xi_gradient=nan_unless(known, _depth_scale(chi1)),
        converged=converged,
    )


def _depth_scale(chi: Array) -> Array:
    r"""$1/|\log\chi|$: 0 for $\chi = 0$, infinite at 1."""
    return 1 / jnp.abs(jnp.log(chi))


def _with_slope(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))


def _is_settled(q: Array, value: Array, slope: Array) -> Array:
    moves = jnp.abs(value - q) / q
    return (moves <= _SETTLED) | ((moves <= _MARGINAL) & (jnp.abs(slope - 1) <= _MARGINAL))


def settled_variance(activation: Activation, weight_std: Array, bias_std: Array) -> Array:
    """The variance to which that of 1 goes, by Newton's method where the map contracts.

    A marginal fixed point is given no derivative.
    """
    following = variance_map(activation, weight_std, bias_std)
    fixed = variance_map(activation, *lax.stop_gradient((weight_std, bias_std)))

    def unsettled(state: tuple[Array, Array, Array, Array]) -> Array:
        q, value, slope, iteration = state
        inside = (q > _VANISHED / _LEAP) & (q < _EXPLODED)
        return inside & ~_is_settled(q, value, slope) & (iteration < _MAX_ITERATIONS)

    def advance(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        q, value, slope, iteration = state
        newton = q + (value - q) / (1 - slope)
        outwards = jnp.where(value > q, _LEAP * q, q / _LEAP)
        q = jnp.clip(jnp.where(slope < 1, newton, outwards), q / _LEAP, _LEAP * q)
        return q, *_with_slope(fixed, q), iteration + 1

    one = jnp.ones(jnp.broadcast_shapes(weight_std.shape, bias_std.shape))
    q = lax.while_loop(unsettled, advance, (one, *_with_slope(fixed, one), jnp.int32(0)))[0]
    inside = (q > _VANISHED) & (q < _EXPLODED)
    return jnp.where(inside, with_derivatives(lambda q: following(q) - q, q), q)


def _correlation(
    activation: Activation, weight_std: Array, bias_std: Array, q: Array, chi1: Array
) -> tuple[Array, Array]:
    r"""$c^*$ and $C'(c^*)$."""
    coefficients = hermite_coefficients(lambda z: activation(jnp.sqrt(q) * z))
    power = jnp.arange(DEGREES, dtype=float)
    shares = jnp.square(weight_std * coefficients) / q
    shares = shares.at[0].add(jnp.square(bias_std) / q)
    # What the series leaves out goes to one power with the share and the slope at 1 that are
    # missing, so that C(1) = 1 and C'(1) = chi_1 hold to the last digit.
    rest = jnp.maximum(1 - jnp.sum(shares), 0.0)
    missing = chi1 - power @ shares
    rest_power = lax.stop_gradient(jnp.maximum(missing / jnp.maximum(rest, 1e-14), DEGREES))

    def following(c: Array, series: tuple[Array, Array] = (shares, rest)) -> Array:
        return jnp.polyval(series[0][::-1], c, unroll=8) + series[1] * c**rest_power

    fixed = functools.partial(following, series=lax.stop_gradient((shares, rest)))

    def advance(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        c, _, iteration = state
        value, slope = _with_slope(fixed, c)
        step = jnp.where(slope < 1, (value - c) / (1 - slope), 0.0)
        return jnp.minimum(c + step, 1.0), step, iteration + 1

    def unsettled(state: tuple[Array, Array, Array]) -> Array:
        return (state[1] > _SETTLED) & (state[2] < _MAX_ITERATIONS)

    chaotic = chi1 > 1 + _SETTLED
    start = jnp.zeros_like(lax.stop_gradient(q))
    found = lax.while_loop(unsettled, advance, (start, start + 1, jnp.int32(0)))[0]
    found = with_derivatives(lambda c: following(c) - c, found)
    c = jnp.where(chaotic, found, 1.0)
    return c, jnp.where(chaotic, _with_slope(following, c)[1], chi1)
