"""Bins of forecasts: their edges, and what is summed in each."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._fixed_point import Number, product, sum_by_segment, to_digits, to_float

BINNINGS = ("width", "mass")
# To this many edges, comparing with each is faster than bisection (2 CPU cores).
_FEW = 64


class BinSums(NamedTuple):
    """Sums over the forecasts of each bin, `[bins]`; whole numbers where nothing is weighted.

    Attributes:
      weight: of all.
      came: of those that came true.
      forecast: weight times forecast.
      gap: weight times (outcome - forecast), from which no rounding of the others is taken.
    """

    weight: Array
    came: Array
    forecast: Array
    gap: Array


def inner_edges(forecast: Array, weights: Array | None, bins: int, binning: str) -> Array:
    """The `[bins - 1]` edges between bins (lower, upper]."""
    if binning == "width":
        # NumPy divides; XLA multiplies by a reciprocal, which moves edges by an ulp.
        return jnp.asarray(np.arange(1, bins) / bins, forecast.dtype)
    examples = forecast.shape[0]
    if weights is None:
        last = [-(-examples * k // bins) - 1 for k in range(1, bins)]
        if jax.export.is_symbolic_dim(examples):
            return jnp.sort(forecast)[jnp.stack([jnp.asarray(place) for place in last])]
        return jnp.sort(forecast)[np.array(last, np.int64)]
    ordered, own = jax.lax.sort((forecast, weights), num_keys=1)
    below = jnp.cumsum(own)
    # Cumulated weights are rounded (a pairwise sum of at most 31 levels, eps / 2 each), and so are
    # the shares of the total: they are taken just below their nominal value, so that rounding
    # moves no edge.
    slack = 1 - 32 * float(jnp.finfo(forecast.dtype).eps)
    shares = jnp.asarray(np.arange(1, bins) / bins * slack, forecast.dtype) * below[-1]
    return ordered[jnp.minimum(jnp.searchsorted(below, shares, side="left"), examples - 1)]


def bin_of(forecast: Array, inner: Array) -> Array:
    """Which bin (lower, upper] each forecast is in."""
    method = "compare_all" if inner.shape[0] <= _FEW else "scan_unrolled"
    return jnp.searchsorted(inner, forecast, side="left", method=method).astype(jnp.int32)


@jax.custom_jvp
def sum_in_bins(forecast: Array, came: Array, weights: Array | None, inner: Array) -> BinSums:
    """Exact sums, by fixed point; of weights, to 2^-43 of the largest.

    Args:
      forecast: `[examples]`, in [0, 1].
      came: `[examples]`, booleans.
      weights: `[examples]`, in [0, 1].
      inner: `[bins - 1]`, edges, which count as constants in derivatives.
    """
    bins = inner.shape[0] + 1

    def describe(forecast: Array, came: Array, *weights: Array) -> tuple[Array, list[Number]]:
        segment = 2 * bin_of(forecast, inner) + came.astype(jnp.int32)
        forecasts = to_digits(forecast)
        if not weights:
            return segment, [forecasts]
        own = to_digits(weights[0])
        return segment, [product(own, forecasts), own]

    terms = (forecast, came) if weights is None else (forecast, came, weights)
    count, whole, digits = sum_by_segment(describe, terms, 2 * bins, count_terms=weights is None)
    # [bins, whether it came true, ...]
    count, whole = count.reshape(bins, 2), whole.reshape(bins, 2, -1)
    signed = digits.astype(whole.dtype).reshape(*whole.shape, -1)
    forecast_whole, forecast_digits = whole[:, :, 0].sum(1), signed[:, :, 0].sum(1)
    dtype = forecast.dtype
    if weights is None:
        weight, hits = count.sum(1), count[:, 1]
        gap = to_float(hits - forecast_whole, -forecast_digits, dtype)
    else:
        weight = to_float(whole[:, :, 1].sum(1), signed[:, :, 1].sum(1), dtype)
        hits = to_float(whole[:, 1, 1], signed[:, 1, 1], dtype)
        gap = to_float(whole[:, 1, 1] - forecast_whole, signed[:, 1, 1] - forecast_digits, dtype)
    return BinSums(weight, hits, to_float(forecast_whole, forecast_digits, dtype), gap)


@sum_in_bins.defjvp
def _sum_in_bins_jvp(primals, tangents):
    forecast, came, weights, inner = primals
    of_forecast, _, of_weights, _ = tangents
    result = sum_in_bins(*primals)
    own = bin_of(forecast, inner)
    add = functools.partial(jax.ops.segment_sum, segment_ids=own, num_segments=inner.shape[0] + 1)
    if weights is None:
        none: Any = np.zeros(result.weight.shape, jax.dtypes.float0)
        moved = add(of_forecast)
        return result, BinSums(none, none, moved, -moved)
    moved = add(weights * of_forecast + of_weights * forecast)
    hits = add(jnp.where(came, of_weights, 0))
    return result, BinSums(add(of_weights), hits, moved, hits - moved)
