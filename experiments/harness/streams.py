"""Standard output and error that can be written, whatever started the program."""

import io
import os
import sys
from typing import Any

from .usage import UsageError


def make_streams_usable() -> None:
    """A stream that is closed, or whose reader has gone (`| head`), leads nowhere from there on.

    The work goes on, and the exit status says what came of it. Where standard output cannot be
    written for another reason, a full disk for instance, that is a UsageError. Characters that the
    locale has not are written as escapes.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(_raw(stream), io.FileIO):
            stream.flush()
            outlet = io.BufferedWriter(_Outlet(stream.fileno(), name))
            text = io.TextIOWrapper(
                outlet, stream.encoding, "backslashreplace", line_buffering=True
            )
            setattr(sys, name, text)


def _raw(stream: Any) -> Any:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is nothing between


class _Outlet(io.FileIO):
    """A standard stream that turns into the null device once it cannot be written."""

    def __init__(self, descriptor: int, what: str):
        super().__init__(descriptor, "w", closefd=False)
        self._what = what

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            if self._what == "stdout" and not isinstance(error, BrokenPipeError):
                raise UsageError(f"cannot write to standard output: {error.strerror}") from error
            return memoryview(content).nbytes
