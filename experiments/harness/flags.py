"""Flags as a dataclass, or what is wrong with them in one line."""

import contextlib
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

import tyro

from .usage import UsageError


def parsed(kind: Any, argv: Sequence[str], **options: Any) -> Any:
    """What `tyro.cli` makes of flags.

    Raises:
      UsageError: if it makes nothing of them.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=argv, **options)
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise UsageError(_in_one_line(said.getvalue())) from None


def _in_one_line(box: str) -> str:
    """What tyro says in a box: under the title, up to the next rule; and the flag that is near."""
    box = re.sub(r"\x1b\[[0-9;]*m", "", box)  # colours of a terminal
    lines = [line.strip("│ ") for line in box.splitlines()[1:]]
    ruled = itertools.groupby(lines, key=lambda line: bool(line.strip("─-")))
    reason = " ".join(next((text for is_text, text in ruled if is_text), lines))
    near = re.search(r"Perhaps you meant:\W+(--[\w-]+)", box)
    return f"{reason}; did you mean {near[1]}?" if near else reason
