"""What a configuration may hold: the range of each field, checked where it is made."""

import dataclasses
import typing
from typing import Any

from .usage import UsageError

_LARGEST = {int: 2**31 - 1, float: 3.4e38}  # JAX computes with 32 bits


@dataclasses.dataclass(frozen=True)
class Within:
    """The numbers that make sense for a field, as `Annotated[int, Within(32)]`.

    Attributes:
      least: the smallest.
      most: the largest; None for what 32 bits hold.
      above: whether `least` itself is too small.
    """

    least: float
    most: float | None = None
    above: bool = False

    def wanted(self, number: float) -> str | None:
        """What a number should be; None if it is. NaN never is."""
        low = f"{'above' if self.above else 'at least'} {self.least:.10g}"
        most = _LARGEST[type(number)] if self.most is None else self.most
        if self.least <= number <= most and not (self.above and number == self.least):
            return None
        if self.most is not None:
            return f"{low} and at most {most:.10g}"
        return f"at most {most:.10g}" if number > most else low


# Where a field says nothing: whole numbers count something, others are rates, times and the like.
_USUAL = {int: Within(1), float: Within(0)}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of every experiment's `Config`; one with rules of its own calls this one first.

    Raises:
      UsageError: naming the flag, the value and the range, for a number outside the range of its
        field, or an empty tuple.
    """

    def __post_init__(self) -> None:
        check_numbers(self)


def check_numbers(config: Any) -> None:
    """Holds every number of a configuration to the range of its field; raises as `Settings`."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == ():
            raise wrong_value(field.name, "one or more values", value)
        metadata = getattr(hints[field.name], "__metadata__", ())
        stated = next((each for each in metadata if isinstance(each, Within)), None)
        for number in value if isinstance(value, tuple) else (value,):
            if type(number) in _USUAL:
                wanted = (stated or _USUAL[type(number)]).wanted(number)
                if wanted is not None:
                    raise wrong_value(field.name, wanted, value)


def wrong_value(field: str, wanted: str, value: Any) -> UsageError:
    """What to raise for a field's value; `wanted` goes on from "must be"."""
    shown = " ".join(map(str, value)) or "none" if isinstance(value, tuple) else value
    return UsageError(f"--{field.replace('_', '-')} must be {wanted}, got {shown}")
