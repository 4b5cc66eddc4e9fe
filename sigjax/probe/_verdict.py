"""What a gradient's profile means, and what to do about it."""

import dataclasses
import itertools
import math
from collections import Counter

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Row:
    r"""One layer.

    Attributes:
      name: its path in the model, with its place in a stack or loop.
      kind: its class.
      activation: the sigmoid, tanh or relu that follows, if one was seen.
      dtype: of its output.
      log10_gradient: log10 of the norm of the loss's gradient at its output.
      log10_gradient_rms: the same for one element, root mean square.
      log10_parameter_gradient: log10 of the norm of the gradient of its own parameters.
      log10_rms: log10 of the root mean square of its output.
      saturated: share of the activation's outputs within 1 % of a bound; NaN without bounds.
      dead: share of units that the ReLU behind it holds at 0 for the whole batch.
      not_finite: elements of output and gradient that are infinite or NaN.
      smallest: smallest normal number of the dtype.
      ratio: its gradient's norm over the next row's.
      slope_square: mean square of the activation's slope, $\mathrm{E}\,\phi'^2$.
      gain: its kernel's fan-in times mean square, $\sigma_w^2$.
    """

    name: str
    kind: str
    activation: str | None
    dtype: str
    log10_gradient: float
    log10_gradient_rms: float
    log10_parameter_gradient: float
    log10_rms: float
    saturated: float
    dead: float
    not_finite: float
    smallest: float
    ratio: float
    slope_square: float
    gain: float


# A gradient that loses this much on the way is called vanishing, one that gains it exploding:
# the optimiser's single step size no longer suits first and last layer.
_DECADES = 2.0
# Fewer layers have no rate.
_FEWEST_LAYERS = 3
_MANY = 0.5  # of units saturated or dead

_REMEDIES = {
    "sigmoid": (
        "use tanh or ReLU with `sigjax.initializers.critical`, normalisation or residual links; "
        "a logistic layer multiplies the gradient by at most a quarter of its weights' norm"
    ),
    "tanh": "use `sigjax.initializers.critical(tanh)` for the kernels, or residual links",
    "relu": "use He's weights (`sigjax.initializers.critical(relu)`), or residual links",
}
_ELSE = "use critical weights (`sigjax.initializers.critical`), normalisation or residual links"


def verdict(rows: list[Row], unreached: tuple[str, ...]) -> str:
    """One line for each finding, the gravest first."""
    findings = [
        *_not_finite(rows),
        *_flow(rows),
        *_blocked(rows),
        *_saturated(rows),
        *_dead(rows),
    ]
    if unreached:
        findings.append(f"Not reached by the loss: {', '.join(unreached)}.")
    return "\n".join(findings or ["The gradient reaches every layer with a norm of its own order."])


def _not_finite(rows: list[Row]) -> list[str]:
    bad = [row.name for row in rows if row.not_finite]
    if not bad:
        return []
    return [f"Infinite or NaN at {', '.join(bad[:5])}: look there first, before any rate."]


def chain_of(rows: list[Row]) -> list[Row]:
    """The layers with kernels: between them the gradient is multiplied by slopes and weights."""
    return [row for row in rows if not math.isnan(row.gain) and math.isfinite(row.log10_gradient)]


def measured_rate(chain: list[Row]) -> float:
    """By how much the norm of the gradient changes from a layer to the one before it.

    The slope of the whole profile: in blocks with branches its ends may be far from its course.
    """
    return 10 ** -_slope([row.log10_gradient for row in chain])


def _slope(values: list[float]) -> float:
    """Least squares, by index."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    products = [(index - middle) * (value - mean) for index, value in enumerate(values)]
    return sum(products) / sum((index - middle) ** 2 for index in range(len(values)))


def predicted_rate(chain: list[Row]) -> float:
    r"""$\sqrt{\chi}$ with $\chi = \sigma_w^2\, \mathrm{E}\,\phi'^2$ of the layers' own weights and
    slopes, geometric mean; NaN where a slope is not known."""
    chis = [upper.gain * row.slope_square for row, upper in itertools.pairwise(chain)]
    if not chis or any(math.isnan(chi) or chi <= 0 for chi in chis):
        return math.nan
    return math.exp(sum(map(math.log, chis)) / len(chis) / 2)


def _flow(rows: list[Row]) -> list[str]:
    chain = chain_of(rows)
    if len(chain) < _FEWEST_LAYERS:
        return []
    rate, theory = measured_rate(chain), predicted_rate(chain)
    lost = -(len(chain) - 1) * math.log10(rate)
    if abs(lost) < _DECADES:
        return []
    kinds = Counter(row.activation for row in chain if row.activation)
    activation = kinds.most_common(1)[0][0] if kinds else None
    beside = (
        ""
        if math.isnan(theory)
        else (f"; mean field with these weights and slopes: x{theory:.2g}, chi_1 = {theory**2:.2g}")
    )
    layers = f"{len(chain)} {activation + ' ' if activation else ''}layers"
    remedy = _REMEDIES.get(activation or "", _ELSE)
    if lost > 0:
        text = f"The gradient vanishes: it shrinks x{rate:.2g} a layer over {layers}{beside}."
        return [f"{text}{_underflow(chain)} Remedy: {remedy}."]
    return [
        f"The gradient explodes: it grows x{rate:.2g} a layer over {layers}{beside}. "
        "Remedy: smaller weights, clipping, or normalisation."
    ]


def _underflow(chain: list[Row]) -> str:
    """From which layer on, counted from the output, an element leaves each narrower dtype."""
    sentences = []
    for dtype in ("float16", "bfloat16"):
        smallest = math.log10(float(jnp.finfo(dtype).smallest_normal))
        for below, row in enumerate(reversed(chain)):
            if row.log10_gradient_rms < smallest:
                sentences.append(
                    f" Below {dtype}'s smallest normal number from layer {below} under the last "
                    f"({row.name})."
                )
                break
    return "".join(sentences)


def _blocked(rows: list[Row]) -> list[str]:
    zero = [row.name for row in rows if row.log10_gradient == -math.inf]
    if not zero:
        return []
    return [
        f"Exactly zero at {', '.join(zero[:5])}{' and more' if len(zero) > 5 else ''}: cut off "
        "(stop_gradient, dead or saturated units), or below the smallest number of the dtype."
    ]


def _saturated(rows: list[Row]) -> list[str]:
    full = [row for row in rows if row.saturated > _MANY]
    if not full:
        return []
    worst = max(full, key=lambda row: row.saturated)
    return [
        f"Saturated: {100 * worst.saturated:.0f} % of the outputs of {worst.activation} behind "
        f"{worst.name} are within 1 % of a bound{_and_others(len(full))}. Remedy: smaller weights "
        "or normalised inputs; `sigjax.stabilize` keeps the digits of the slopes that are left."
    ]


def _dead(rows: list[Row]) -> list[str]:
    full = [row for row in rows if row.dead > _MANY]
    if not full:
        return []
    worst = max(full, key=lambda row: row.dead)
    return [
        f"Dead: {100 * worst.dead:.0f} % of the units behind {worst.name} are 0 for the whole "
        f"batch{_and_others(len(full))}. Remedy: a smaller learning rate, He's weights, no biases."
    ]


def _and_others(count: int) -> str:
    return f", and in {count - 1} more layers" if count > 1 else ""
