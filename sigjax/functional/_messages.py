"""The one form of what an error says of an argument."""


def must(argument: str | tuple[str, ...], rule: str, got: object, *, of: str = "") -> str:
    """What an argument, or several together, must be, and what came instead.

    Args:
      argument: its name, or their names.
      rule: goes on from "must", as in "be at least 1".
      got: the value, or what of it is not as it must be, as in "shape (3,)".
      of: the public name that takes the argument; may be left out of a check that many share,
        since the traceback has it.

    Example:
      >>> print(must("depth", "be at least 1", 0, of="sigjax.nn.MLP"))
      sigjax.nn.MLP: argument 'depth' must be at least 1, got 0
      >>> print(must(("low", "high"), "be finite with low < high", "low=2 and high=1"))
      arguments 'low' and 'high' must be finite with low < high, got low=2 and high=1
    """
    names = (argument,) if isinstance(argument, str) else argument
    *others, last = (f"'{name}'" for name in names)
    subject = f"arguments {', '.join(others)} and {last}" if others else f"argument {last}"
    place = f"{of}: " if of else ""
    return f"{place}{subject} must {rule}, got {got}"
