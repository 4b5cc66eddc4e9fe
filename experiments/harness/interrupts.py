"""Ctrl-C that is not lost."""

import _thread
import contextlib
import sys
import threading
from collections.abc import Iterator

# How long the callback that dropped an interrupt gets to return, before this is raised again.
_SECONDS_TO_LEAVE = 0.01


@contextlib.contextmanager
def insistent() -> Iterator[None]:
    """Raises a KeyboardInterrupt again that was raised where exceptions are dropped.

    Those are destructors and callbacks of the garbage collector. JAX has one of the latter, which
    runs often: it swallowed 32 of 180 interrupts at random moments of a sweep of small points
    (jax 0.10.2).
    """
    report = sys.unraisablehook

    def again(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            threading.Timer(_SECONDS_TO_LEAVE, _thread.interrupt_main).start()
        else:
            report(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = report
