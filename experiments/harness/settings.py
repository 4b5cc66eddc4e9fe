"""What a configuration may hold: the range of each field, checked where it is made."""

import dataclasses
import math
import typing
from typing import Any

from .refusal import Refusal


@dataclasses.dataclass(frozen=True)
class Within:
    """The numbers that make sense for a field, as `Annotated[int, Within(32)]`.

    Attributes:
      least: the smallest.
      most: the largest.
      above: whether `least` itself is too small.
    """

    least: float
    most: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most and not (self.above and number == self.least)

    def __str__(self) -> str:
        low = f"above {self.least:g}" if self.above else f"at least {self.least:g}"
        return low if self.most == math.inf else f"{low} and at most {self.most:.10g}"


# Where a field says nothing: whole numbers count something, others are rates, times and the
# like. JAX computes with 32 bits.
_COUNT = Within(1, 2**31 - 1)
_AMOUNT = Within(0, 3.4e38)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of every experiment's `Config`; one with a rule of its own calls this rule first.

    Raises:
      Refusal: naming the flag, the value and the range, for a number outside the range of its
        field, or an empty tuple.
    """

    def __post_init__(self) -> None:
        check_numbers(self)


def check_numbers(config: Any) -> None:
    """Holds every number of a configuration to the range of its field; raises as `Settings`."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        several = isinstance(value, tuple)
        if value == ():
            raise refusal(field.name, "one or more values", value)
        for number in value if several else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            metadata = getattr(hints[field.name], "__metadata__", ())
            stated = [each for each in metadata if isinstance(each, Within)]
            wanted = (*stated, _COUNT if isinstance(number, int) else _AMOUNT)[0]
            if number not in wanted or not math.isfinite(number):
                raise refusal(field.name, str(wanted), value)


def refusal(field: str, wanted: str, value: Any) -> Refusal:
    """What to raise for a field's value; `wanted` goes on from "must be"."""
    shown = " ".join(map(str, value)) or "none" if isinstance(value, tuple) else value
    return Refusal(f"--{field.replace('_', '-')} must be {wanted}, got {shown}")
