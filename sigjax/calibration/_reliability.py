"""Whether what was forecast with probability p comes true in a fraction p of the cases."""

import dataclasses
import functools
import statistics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..functional._arguments import check_integers
from ..functional._messages import must
from ..functional._undefined import nan_unless
from ._arguments import (
    Values,
    classes_of,
    floating,
    labels_of,
    nonnegative_weights,
    require,
)
from ._bins import BINNINGS, BinSums, inner_edges, sum_in_bins
from ._scale import power_of_two
from ._sharding import on_explicit_meshes

# The bins of Guo et al. 2017.
_BINS = 15


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["edges", "weight", "probability", "frequency", "low", "high"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ReliabilityCurve:
    """Forecast against outcome, bin by bin; a pytree.

    Where a bin is empty there is no mean and no frequency: both are NaN there, and so are `low` and
    `high`. `jax_debug_nans` stops at such a curve, and not at an `expected_calibration_error`.

    Attributes:
      edges: `[bins + 1]`, bounds of the bins `(lower, upper]`; 0 is in the first.
      weight: `[bins]`, number of examples, an integer; or their weight, if they have weights.
      probability: `[bins]`, mean forecast.
      frequency: `[bins]`, fraction that came true.
      low: `[bins]`, lower end of the interval of the frequency.
      high: `[bins]`, upper end.
    """

    edges: Array
    weight: Array
    probability: Array
    frequency: Array
    low: Array
    high: Array


def reliability_curve(
    probabilities: Values,
    labels: Values,
    *,
    bins: int = _BINS,
    binning: str = "width",
    confidence: float = 0.95,
    weights: Values | None = None,
) -> ReliabilityCurve:
    r"""Mean forecast and observed frequency in bins of the forecast.

    Intervals are Wilson's, $\frac{\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}}
    {1 + z^2/n}$, which keep their meaning near 0 and 1 and for few examples.

    Counts are exact to $2^{31} - 1$ examples, and beyond with `jax_enable_x64`, without which more
    are refused. Sums are whole numbers inside: the same to the last bit in any order of the
    examples and however they are sharded. In float32 a mean forecast is good to $10^{-13}$ and
    3 ulp, whatever the number of examples.

    Args:
      probabilities: of the event in [0, 1], `[examples]` or a column `[examples, 1]`; or
        `[examples, classes]`, where the forecast is the largest one and the event is that this
        class is right. At least float32 is computed with.
      labels: `[examples]`: whether the event came (booleans or 0 and 1), or the class (an integer
        from 0 to classes - 1, in any dtype).
      bins: how many.
      binning: "width": equally wide, with edges $k / \text{bins}$ rounded to the dtype, so that
        a forecast of 0.3 is in the bin that ends at 3/10, as in scikit-learn; "mass": with equally
        many examples, where equal forecasts share a bin.
      confidence: of the intervals; a Python number.
      weights: `[examples]`; an example of weight 2 counts as two. Weights below $10^{-13}$ of the
        largest count as 0 in float32.

    Returns:
      A `ReliabilityCurve`. Under `jit` and `vmap`, where invalid values cannot be refused, all of
      it but edges and weights is NaN if a probability, a label or a weight is invalid.

    Raises:
      TypeError: for what is not real numbers, or bins that are not an integer.
      ValueError: for shapes that do not match, probabilities outside [0, 1], labels that cannot be,
        bins below 1, another binning, or a confidence outside (0, 1).

    Example:
      >>> curve = reliability_curve([0.2, 0.3, 0.8, 0.9], [0, 1, 1, 1], bins=2)
      >>> print(curve.weight, curve.probability, curve.frequency)
      [2 2] [0.25 0.85] [0.5 1. ]

    References:
      Niculescu-Mizil & Caruana 2005, ICML, 625-632; Wilson 1927, JASA 22:209-212.
    """
    if not 0 < confidence < 1:
        raise ValueError(
            must(
                "confidence",
                "be between 0 and 1",
                confidence,
                of="sigjax.calibration.reliability_curve",
            )
        )
    _check_bins(bins, binning)
    # From the small tail, which keeps its digits where the confidence is near 1.
    quantile = -statistics.NormalDist().inv_cdf((1 - confidence) / 2)
    events = _events(probabilities, labels, weights)
    z = jnp.asarray(quantile, events.forecast.dtype)
    return on_explicit_meshes(functools.partial(_curve, bins, binning), events, z)


def expected_calibration_error(
    probabilities: Values,
    labels: Values,
    *,
    bins: int = _BINS,
    binning: str = "width",
    weights: Values | None = None,
    classwise: bool = False,
) -> Array:
    r"""$\mathrm{ECE} = \sum_b \frac{n_b}{n} \lvert \text{frequency}_b - \text{forecast}_b \rvert$.

    Sums are as exact as those of `reliability_curve`: in float32 each bin's gap is good to
    $10^{-13}$ of an example and 2 ulp. Differentiable by probabilities and weights, with the bins
    as they are.

    Args:
      probabilities: as in `reliability_curve`; with `[examples, classes]` this is the measure of
        Guo et al., of the confidence in the class that was chosen.
      labels: as in `reliability_curve`.
      bins: how many; the measure depends on it.
      binning: "width" (the usual one) or "mass".
      weights: `[examples]`.
      classwise: whether to take every class for an event, as if it were forecast alone, and
        return the mean over the classes of their errors (Kull et al.); for probabilities
        `[examples, classes]`.

    Returns:
      A scalar in [0, 1]. A perfect forecast has a small positive one, of order
      $\sqrt{\text{bins} / \text{examples}}$, since frequencies in bins are noisy. Under `jit`
      and `vmap` it is NaN for invalid values.

    Raises:
      TypeError: as `reliability_curve`.
      ValueError: as `reliability_curve`, and for `classwise` without a column for each class.

    Example:
      >>> print(expected_calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 0, 0]))
      0.25

    References:
      Naeini, Cooper & Hauskrecht 2015, AAAI; Guo et al. 2017, ICML, PMLR 70:1321-1330; Kull
      et al. 2019, NeurIPS, 12316-12326.
    """
    _check_bins(bins, binning)
    events = _events(probabilities, labels, weights)
    if classwise and events.forecast.ndim == 1:
        raise ValueError(
            must(
                "probabilities",
                "have shape [examples, classes], with 2 classes or more, where classwise=True",
                events.forecast.shape,
                of="sigjax.calibration.expected_calibration_error",
            )
        )
    return on_explicit_meshes(functools.partial(_error, bins, binning, classwise), events)


class _Events(NamedTuple):
    """Forecasts `[examples]` and booleans, or `[examples, classes]` and classes."""

    forecast: Array
    labels: Array
    weights: Array | None
    valid: Array

    def binary(self) -> "_Events":
        """Of the class that was chosen."""
        if self.forecast.ndim == 1:
            return self
        right = self.labels == jnp.argmax(self.forecast, axis=1).astype(self.labels.dtype)
        return self._replace(forecast=jnp.max(self.forecast, axis=1), labels=right)

    def of_class(self, index: Array) -> "_Events":
        return self._replace(
            forecast=self.forecast[:, index],
            labels=self.labels == index.astype(self.labels.dtype),
        )


def _events(probabilities: Values, labels: Values, weights: Values | None) -> _Events:
    forecast = floating("probabilities", probabilities)
    if forecast.ndim not in (1, 2) or 0 in forecast.shape:
        raise ValueError(
            must(
                "probabilities",
                "have shape [examples] or [examples, classes], and not be empty",
                forecast.shape,
            )
        )
    examples = forecast.shape[0]
    symbolic = jax.export.is_symbolic_dim(examples)
    if not symbolic and examples > jnp.iinfo(jnp.result_type(int)).max:
        raise ValueError(
            must("probabilities", "have at most 2^31 - 1 examples without jax_enable_x64", examples)
        )
    if forecast.shape[1:] == (1,):
        forecast = forecast[:, 0]
    likely = require("probabilities", "lie in [0, 1]", probabilities, forecast, _is_probability)
    if forecast.ndim == 2:
        outcome, possible = classes_of(labels, *forecast.shape)
    else:
        outcome, possible = _outcomes(labels, examples)
    own, weighed = nonnegative_weights(weights, forecast)
    return _Events(forecast, outcome, own, likely & possible & weighed)


def _is_probability(forecast: Array) -> Array:
    return (forecast >= 0) & (forecast <= 1)


def _outcomes(labels: Values, examples: Any) -> tuple[Array, Array]:
    array = labels_of(examples, labels)
    if array.dtype == bool:
        return array, jnp.ones((), bool)
    rule = "be booleans or 0 and 1 for probabilities of one event"
    return array == 1, require("labels", rule, labels, array, _is_binary)


def _is_binary(labels: Array) -> Array:
    return (labels == 0) | (labels == 1)


def _check_bins(bins: int, binning: str) -> None:
    check_integers(bins=bins)
    if binning not in BINNINGS:
        raise ValueError(must("binning", f"be one of {', '.join(BINNINGS)}", repr(binning)))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _curve(bins: int, binning: str, events: _Events, z: Array) -> ReliabilityCurve:
    events = events.binary()
    dtype = events.forecast.dtype
    inner, sums, unit = _summed(bins, binning, events)
    weight = sums.weight.astype(dtype)
    count = jnp.where(weight > 0, weight, 1)
    frequency = sums.came.astype(dtype) / count
    missed = (sums.weight - sums.came).astype(dtype) / count
    spread = jnp.square(z) / (count / unit)
    rated = (sums.forecast / count, frequency, *_wilson(frequency, missed, spread))
    shown = (weight > 0) & events.valid
    probability, frequency, low, high = (nan_unless(shown, each) for each in rated)
    weight = sums.weight if events.weights is None else weight / unit
    ends = (jnp.zeros(1, dtype), inner, jnp.ones(1, dtype))
    return ReliabilityCurve(jnp.concatenate(ends), weight, probability, frequency, low, high)


def _wilson(frequency: Array, missed: Array, spread: Array) -> tuple[Array, Array]:
    """Ends of the interval, neither of them a difference of near numbers.

    They are the roots of a quadratic whose product is frequency^2 / (1 + spread).
    """
    root = jnp.sqrt(spread * frequency * missed + jnp.square(spread) / 4)
    low = jnp.square(frequency) / (frequency + spread / 2 + root)
    high = 1 - jnp.square(missed) / (missed + spread / 2 + root)
    return low, high


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _error(bins: int, binning: str, classwise: bool, events: _Events) -> Array:
    def of(events: _Events) -> Array:
        _, sums, _ = _summed(bins, binning, events)
        total = jnp.sum(sums.weight).astype(events.forecast.dtype)
        return jnp.sum(jnp.abs(sums.gap)) / jnp.where(total > 0, total, 1)

    if classwise:
        # One class after the other, whose forecasts alone are in memory then.
        index = jnp.arange(events.forecast.shape[1])
        error = jnp.mean(lax.map(lambda one: of(events.of_class(one)), index))
    else:
        error = of(events.binary())
    return nan_unless(events.valid, error)


def _summed(bins: int, binning: str, events: _Events) -> tuple[Array, BinSums, Array]:
    """Edges and sums, and the unit in which weights were summed."""
    weights, unit = events.weights, jnp.ones((), events.forecast.dtype)
    if weights is not None:
        unit = power_of_two(jnp.max(weights))
        weights = weights * unit
    inner = lax.stop_gradient(inner_edges(events.forecast, weights, bins, binning))
    return inner, sum_in_bins(events.forecast, events.labels, weights, inner), unit
