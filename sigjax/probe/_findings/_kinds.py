"""One thing that is wrong, and what helps."""

import dataclasses
import math
from collections.abc import Sequence

KINDS = (
    "not_finite",
    "dead",
    "attention_saturated",
    "saturated",
    "jump",
    "underflow",
    "lost_update",
    "vanishing",
    "exploding",
    "forgetting",
    "detached",
    "unused",
    "zero_weights",
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a model's gradient, or may be.

    Attributes:
      kind: one of `KINDS`.
      layers: paths of the layers concerned, the one to look at first.
      text: what was measured and why it harms.
      remedy: what to do first.
    """

    kind: str
    layers: tuple[str, ...]
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


def listed(layers: Sequence[str], most: int = 4) -> str:
    """Names in a sentence."""
    shown = list(layers[:most])
    rest = len(layers) - len(shown)
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def power(log10: float) -> str:
    """A positive number by its logarithm, such as 2.5e-310, whether a float can hold it or not."""
    if -3 <= log10 < 4:
        return f"{10**log10:.3g}"
    exponent = math.floor(log10 + math.log10(1 / 0.995))  # 9.95 is written as 10
    return f"{10 ** (log10 - exponent):.2g}e{exponent:+d}"
