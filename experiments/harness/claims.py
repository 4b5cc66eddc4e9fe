"""What an experiment holds its own numbers to."""

import dataclasses
import math
from typing import Any, Literal

Kind = Literal["exact", "statistical", "qualitative", "reported"]
Relation = Literal["==", "<=", ">="]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One number of a paper, or of this project, beside the one that was measured.

    Attributes:
      name: what is claimed, in words.
      source: paper and equation, or the promise that it comes from.
      expected: the number, or the bound.
      measured: the number found.
      tolerance: how far `measured` may be from `expected`; for a bound, beyond it.
      kind: a "reported" claim has no verdict.
      relation: "==", or that the measured number is a bound's right side ("<=", ">=").
      relative: whether the tolerance is a fraction of `expected`.
    """

    name: str
    source: str
    expected: float
    measured: float
    tolerance: float
    kind: Kind
    relation: Relation = "=="
    relative: bool = False

    @property
    def verdict(self) -> str | None:
        """ "holds", "fails" (NaN always does), or None for a reported claim."""
        if self.kind == "reported":
            return None
        allowance = self.tolerance * (abs(self.expected) if self.relative else 1.0)
        if self.relation == "==":
            holds = abs(self.measured - self.expected) <= allowance
        elif self.relation == "<=":
            holds = self.measured <= self.expected + allowance
        else:
            holds = self.measured >= self.expected - allowance
        # inf == inf would give inf - inf above
        holds = holds or (math.isinf(self.expected) and self.measured == self.expected)
        return "holds" if holds else "fails"

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict."""
        return dataclasses.asdict(self) | {"verdict": self.verdict}
