"""All findings of a report, in order, without those that follow from others."""

from collections.abc import Sequence

from .._reading import Reading
from .._rows import Row
from ._attention import attention_saturated
from ._experts import experts
from ._flow import flow
from ._kinds import Finding
from ._not_finite import not_finite
from ._precision import underflow
from ._reach import unreached, zero_weights
from ._recurrence import recurrence
from ._units import dead, saturated


def findings_of(reading: Reading, rows: Sequence[Row]) -> list[Finding]:
    """What is wrong, the gravest and most explanatory first."""
    broken = list(not_finite(reading))
    if broken:
        return broken  # numbers say nothing where some are infinite
    closed, thinned = dead(rows)
    jumps, rates = flow(reading, rows)
    odd = {finding.layers[0] for finding in jumps}
    # Attention that one layer's weights have saturated is told of there.
    attention = [one for one in attention_saturated(reading) if odd.isdisjoint(one.layers)]
    stopped = [*closed, *attention, *saturated(rows)]
    narrow = list(underflow(rows))
    if stopped or narrow:
        rates = []  # what saturation, dead units or lost digits make of a rate is no second fault
    return [
        *stopped,
        *jumps,
        *narrow,
        *rates,
        *thinned,
        *experts(reading),
        *recurrence(reading),
        *unreached(reading),
        *zero_weights(reading),
    ]
