"""Gradients and updates below what their dtype can hold."""

import math
from collections.abc import Iterator, Mapping, Sequence

from .._rows import Row
from ._kinds import Finding, listed

# Subnormal numbers keep fewer digits, and what is below them is lost. Micikevicius et al., "Mixed
# Precision Training" (2018), section 3.2, scale the loss so that few gradients lie there.
_MANY = 0.1
# A parameter of which more than half does not move: what is lost is no longer the exception. A
# bfloat16 weight of 0.1 has neighbours at 0.0005, so an update of 0.0001 is lost.
_MOST = 0.5
# Room between a layer's typical gradient and the smallest normal number: 2^6, so that elements of
# a sixtieth of it are still normal.
_ROOM = 6


def underflow(rows: Sequence[Row]) -> Iterator[Finding]:
    """float16 gradients that are subnormal, or gone."""
    narrow = [row for row in rows if row.dtype == "float16" and not math.isnan(row.log10_gradient)]
    small = [row for row in narrow if row.subnormal > _MANY]
    gone = [row for row in narrow if row.log10_gradient == -math.inf] if small else []
    if not small:
        return
    layers = [row.name for row in narrow if row in small or row in gone]
    lowest = min(row.log10_gradient_rms for row in small)
    worst = max(small, key=lambda row: row.subnormal)
    power = math.ceil(math.log2(worst.smallest) + _ROOM - lowest * math.log2(10))
    yield Finding(
        "underflow",
        tuple(layers),
        f"{100 * worst.subnormal:.0f} % of the gradient at {worst.name} is below the smallest "
        f"normal number of float16, {worst.smallest:.1e} (in all: {listed(layers)}): digits are "
        "lost, then the gradient itself.",
        f"Multiply the loss by 2^{power}, divide the gradients by it (loss scaling), or compute "
        "in bfloat16.",
    )


def lost_update(lost: Mapping[str, float]) -> Iterator[Finding]:
    """Updates that change nothing, because the sum is rounded to the parameter that was there.

    Args:
      lost: for each parameter by name, the share of its updates other than 0 that are lost.
    """
    many = {name: share for name, share in lost.items() if share > _MOST}
    if not many:
        return
    layers = sorted(many, key=lambda name: -many[name])
    yield Finding(
        "lost_update",
        tuple(layers),
        f"{100 * many[layers[0]]:.0f} % of the updates of {layers[0]} are below half the spacing "
        f"of its numbers and change nothing (in all: {listed(layers)}): these weights stand still, "
        "however long they are trained.",
        "Keep the parameters in float32 and compute in the narrow dtype, or round stochastically.",
    )
