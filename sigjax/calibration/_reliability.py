"""Whether what was forecast with probability p comes true in a fraction p of the cases."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..functional._arguments import check_numbers
from ._arguments import Values, is_known, nonnegative_weights, real_floating

# The bins of Guo et al. 2017.
_BINS = 15
BINNINGS = ("width", "mass")


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["edges", "weight", "probability", "frequency", "low", "high"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class ReliabilityCurve:
    """Forecast against outcome, bin by bin; a pytree. NaN where a bin is empty.

    Attributes:
      edges: `[bins + 1]`, bounds of the bins `(lower, upper]`.
      weight: `[bins]`, number of examples, or their weight.
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

    Args:
      probabilities: `[examples]`, of the event in [0, 1]; or `[examples, classes]`, where the
        forecast is the largest one and the event is that this class is right.
      labels: `[examples]`: whether the event came (booleans or 0 and 1), or the class.
      bins: how many.
      binning: "width": equally wide; "mass": with equally many examples, where equal forecasts
        share a bin.
      confidence: of the intervals.
      weights: `[examples]`; an example of weight 2 counts as two.

    Returns:
      A `ReliabilityCurve`.

    Raises:
      ValueError: for shapes that do not match, probabilities outside [0, 1], bins below 1,
        another binning, or a confidence outside (0, 1).

    Example:
      >>> curve = reliability_curve([0.2, 0.3, 0.8, 0.9], [0, 1, 1, 1], bins=2)
      >>> print(curve.probability, curve.frequency)
      [0.25 0.85] [0.5 1. ]

    References:
      Niculescu-Mizil & Caruana 2005, ICML, 625-632; Wilson 1927, JASA 22:209-212.
    """
    forecast, came = _binary_events(probabilities, labels)
    weights = nonnegative_weights(weights, forecast)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, not {confidence}")
    edges = _edges(forecast, weights, bins, binning)
    weight, probability, frequency = _means(forecast, came, weights, edges)
    z = jax.scipy.special.ndtri(jnp.asarray((1 + confidence) / 2, forecast.dtype))
    spread = z * z / weight
    centre = (frequency + spread / 2) / (1 + spread)
    half = jnp.sqrt(spread * frequency * (1 - frequency) + spread * spread / 4) / (1 + spread)
    return ReliabilityCurve(
        edges,
        weight,
        probability,
        frequency,
        jnp.maximum(centre - half, 0),
        jnp.minimum(centre + half, 1),
    )


def expected_calibration_error(
    probabilities: Values,
    labels: Values,
    *,
    bins: int = _BINS,
    binning: str = "width",
    weights: Values | None = None,
) -> Array:
    r"""$\mathrm{ECE} = \sum_b \frac{n_b}{n} \lvert \text{frequency}_b - \text{forecast}_b \rvert$.

    Args:
      probabilities: as in `reliability_curve`; with `[examples, classes]` this is the measure of
        Guo et al., of the confidence in the class that was chosen.
      labels: as in `reliability_curve`.
      bins: how many; the measure depends on it.
      binning: "width" (the usual one) or "mass".
      weights: `[examples]`.

    Returns:
      A scalar in [0, 1]. A perfect forecast has a small positive one, of order
      $\sqrt{\text{bins} / \text{examples}}$, since frequencies in bins are noisy.

    Raises:
      ValueError: as `reliability_curve`.

    Example:
      >>> print(expected_calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 0, 0]))
      0.25

    References:
      Naeini, Cooper & Hauskrecht 2015, AAAI; Guo et al. 2017, ICML, PMLR 70:1321-1330.
    """
    forecast, came = _binary_events(probabilities, labels)
    weights = nonnegative_weights(weights, forecast)
    edges = _edges(forecast, weights, bins, binning)
    weight, probability, frequency = _means(forecast, came, weights, edges)
    gaps = jnp.where(weight > 0, weight * jnp.abs(frequency - probability), 0)
    return jnp.sum(gaps) / jnp.sum(weight)


def _binary_events(probabilities: Values, labels: Values) -> tuple[Array, Array]:
    """Forecasts `[examples]`, and 1 where they came true."""
    forecast = real_floating("probabilities", probabilities)
    if forecast.ndim not in (1, 2) or 0 in forecast.shape:
        raise ValueError(
            "probabilities must have shape [examples] or [examples, classes], and not be empty: "
            f"{forecast.shape}"
        )
    if is_known(probabilities):
        values = np.asarray(forecast)
        if values.min() < 0 or values.max() > 1:
            raise ValueError(f"probabilities must lie in [0, 1]: {values.min()} to {values.max()}")
    check_numbers(labels=labels)
    outcome = jnp.asarray(labels)
    if outcome.shape != forecast.shape[:1]:
        raise ValueError(f"labels must have shape {forecast.shape[:1]}, not {outcome.shape}")
    if forecast.ndim == 2:
        came = outcome == jnp.argmax(forecast, axis=-1).astype(outcome.dtype)
        forecast = jnp.max(forecast, axis=-1)
    else:
        came = outcome.astype(bool)
        if is_known(labels) and not set(np.unique(np.asarray(labels)).tolist()) <= {0, 1}:
            raise ValueError("labels must be booleans or 0 and 1 for probabilities of one event")
    return forecast, came.astype(forecast.dtype)


def _edges(forecast: Array, weights: Array, bins: int, binning: str) -> Array:
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if binning not in BINNINGS:
        raise ValueError(f"binning must be one of {', '.join(BINNINGS)}, not {binning!r}")
    inner = jnp.arange(1, bins, dtype=forecast.dtype) / bins
    if binning == "mass":
        order = jnp.argsort(forecast)
        below = jnp.cumsum(weights[order])
        # Just under each share of the whole, so that rounding of the sum does not move an edge.
        reached = jnp.searchsorted(below, inner * below[-1] * (1 - 1e-6), side="left")
        inner = forecast[order][jnp.minimum(reached, forecast.shape[0] - 1)]
    zero, one = jnp.zeros(1, forecast.dtype), jnp.ones(1, forecast.dtype)
    return jnp.concatenate([zero, inner, one])


def _means(
    forecast: Array, came: Array, weights: Array, edges: Array
) -> tuple[Array, Array, Array]:
    """Weight, mean forecast and frequency in each bin (lower, upper]; 0 is in the first."""
    bins = edges.shape[0] - 1
    bin_of = jnp.clip(jnp.searchsorted(edges, forecast, side="left") - 1, 0, bins - 1)
    sums = jax.ops.segment_sum(
        weights[:, None] * jnp.stack([jnp.ones_like(forecast), forecast, came], axis=1),
        bin_of,
        num_segments=bins,
    )
    weight = sums[:, 0]
    filled = jnp.where(weight > 0, weight, jnp.nan)
    return weight, sums[:, 1] / filled, sums[:, 2] / filled
