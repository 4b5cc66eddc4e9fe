"""What an experiment holds its own numbers to."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["exact", "statistical", "qualitative", "reported"]
Relation = Literal["==", "<=", ">="]
Verdict = Literal["holds", "fails", "below its aim", "reported"]


@dataclasses.dataclass(frozen=True)
class Claim:
    """One number that was measured, beside what a paper or this project says of it.

    Attributes:
      name: what is claimed, in words.
      source: paper and equation, or the promise that it comes from.
      expected: the number, or the bound; None for a reported number without an aim.
      measured: the number found.
      kind: a "reported" number may miss its aim, but never fails; see `reported`.
      tolerance: how far `measured` may be from `expected`; for a bound, beyond it.
      relation: how `measured` relates to `expected`: equal to it ("=="), at most it ("<="), or
        at least it (">=").
      relative: whether the tolerance is a fraction of `expected`.
    """

    name: str
    source: str
    expected: float | None
    measured: float
    _: dataclasses.KW_ONLY
    kind: Kind
    tolerance: float = 0.0
    relation: Relation = "=="
    relative: bool = False

    @property
    def verdict(self) -> Verdict:
        """What follows from the numbers; NaN is never as expected."""
        if self.kind == "reported":
            return "reported" if self._is_as_expected() else "below its aim"
        return "holds" if self._is_as_expected() else "fails"

    @property
    def allowance(self) -> float:
        """The tolerance in the units of the numbers."""
        return self.tolerance * (abs(self.expected or 0.0) if self.relative else 1.0)

    def _is_as_expected(self) -> bool:
        if self.expected is None:
            return True
        if self.measured == self.expected:
            return True  # inf - inf below would be NaN
        if self.relation == "==":
            return abs(self.measured - self.expected) <= self.allowance
        if self.relation == "<=":
            return self.measured <= self.expected + self.allowance
        return self.measured >= self.expected - self.allowance

    def for_information(self) -> "Claim":
        """The number alone, where nothing is claimed of it."""
        return reported(self.name, self.source, self.measured)

    def to_json(self) -> dict[str, Any]:
        """All fields and the verdict; JSON has no NaN and no infinity: they become strings."""
        row = dataclasses.asdict(self) | {"verdict": self.verdict}
        return {key: _json_safe(value) for key, value in row.items()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Claim":
        """The claim of a row that `to_json` made.

        Raises:
          KeyError, TypeError, ValueError: if it did not.
        """
        fields = {field.name: row[field.name] for field in dataclasses.fields(cls)}
        for name in ("expected", "measured", "tolerance"):
            if fields[name] is not None:
                fields[name] = float(fields[name])
        return cls(**fields)


def reported(
    name: str,
    source: str,
    measured: float,
    *,
    aim: float | None = None,
    relation: Literal["<=", ">="] = ">=",
) -> Claim:
    """A number for information, such as a time, which the machine decides as well.

    Args:
      name: what was measured, in words.
      source: what it is to be read beside.
      measured: the number found.
      aim: what this project would like it to be, if anything. A number that misses it is "below
        its aim", which is not a failure and never counts as holding.
      relation: whether the number is to be at least the aim, or at most.
    """
    return Claim(name, source, aim, measured, kind="reported", relation=relation)


def _json_safe(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
