"""One run at a time in a folder, or one of each share of its points."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from .sweep import EVERYTHING, Share
from .usage import UsageError

SHARD_LOCK = ".lock-shard-"
"""What the name of a share's lock begins with."""


@contextlib.contextmanager
def locked(folder: Path, share: Share = EVERYTHING) -> Iterator[None]:
    """Holds the folder for a whole run, or beside other shares for one.

    The system releases a lock when its process ends.

    Raises:
      UsageError: if another run holds it, or the folder cannot be written or locked.
    """
    with contextlib.ExitStack() as held:
        if share == EVERYTHING:
            held.enter_context(_lock(folder / ".lock", fcntl.LOCK_EX))
        else:
            held.enter_context(_lock(folder / ".lock", fcntl.LOCK_SH))
            name = f"{SHARD_LOCK}{share.index}-of-{share.count}"
            held.enter_context(_lock(folder / name, fcntl.LOCK_EX))
        yield


@contextlib.contextmanager
def _lock(path: Path, kind: int) -> Iterator[None]:
    try:
        file = path.open("wb")
    except OSError as error:
        raise UsageError(f"cannot write in {path.parent}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is at work in {path.parent}") from error
        except OSError as error:
            raise UsageError(
                f"cannot lock {path}: {error.strerror}; --results must be where files can be locked"
            ) from error
        yield
