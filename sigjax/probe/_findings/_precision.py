"""Gradients below what their dtype can hold."""

import math
from collections.abc import Iterator, Sequence

from .._rows import Row
from ._kinds import Finding, listed

# Subnormal numbers keep fewer digits, and what is below them is lost. Micikevicius et al., "Mixed
# Precision Training" (2018), section 3.2, scale the loss so that few gradients lie there.
_MANY = 0.1
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
