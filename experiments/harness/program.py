"""What a program does around its work: streams, refusals in one line, Ctrl-C, garbage."""

import gc
import sys
from collections.abc import Callable

from .interrupts import insistent
from .streams import make_streams_usable
from .usage import UsageError


def carried_out(work: Callable[[], int]) -> int:
    """The exit status of a program: that of its work, 2 if refused, 130 if interrupted."""
    make_streams_usable()
    try:
        with insistent():
            status = work()
            sys.stdout.flush()
            return status
    except (UsageError, OSError) as error:  # a disk, a file or a network that is not as it must be
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last point", file=sys.stderr)
        return 130


def collect_seldom() -> None:
    """Lets Python look for reference cycles far less often than by default.

    Tracing makes many small objects that stay, and by default all of them are looked through
    again and again: some per cent of the processor time of experiments that mostly trace and
    compile. Arrays are hardly ever in a cycle, and are freed at once as before.
    """
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
