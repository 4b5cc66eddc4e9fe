"""The points of an experiment's sweep: measured one by one, each saved as it is finished."""

import contextlib
import contextvars
import dataclasses
import functools
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from . import storage
from .processes import on_process_zero
from .progress import progress
from .usage import UsageError

Point = Mapping[str, Any]

_NAME = re.compile(r"\d{5}-[0-9a-f]{12}-(?P<seconds>\d+\.\d)s-(?P<digest>[0-9a-f]{64})\.nc")


@dataclasses.dataclass(frozen=True)
class Share:
    """Which points a process may measure: those at index - 1, index - 1 + count, ..."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Reads "I/N".

        Raises:
          UsageError: unless 1 <= I <= N.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"--shard must be I/N with 1 <= I <= N, such as 2/8, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def owns(self, position: int) -> bool:
        """Whether the point at a position of its sweep is this share's."""
        return position % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


EVERYTHING = Share(1, 1)
NOTHING = Share(0, 1)


class PointsMissing(Exception):
    """A sweep has points that this process may not measure and nobody has measured yet."""

    def __init__(self, missing: int, total: int):
        super().__init__(missing, total)
        self.missing = missing
        self.total = total


class PointStore:
    """A folder with one file a point, whose name holds its time and the SHA-256 of its content.

    Attributes:
      seconds_before: what points took that an earlier process, or another shard, has measured.

    Args:
      folder: where; made if need be.
      label: what is measured, for the progress bar.
      share: which points may be measured here. With one of several shares, others write into
        the folder at the same time: what they are writing is left alone.
      cost: how the times of points compare, for the time left; if None, all take as long.
    """

    def __init__(
        self,
        folder: Path,
        label: str,
        share: Share = EVERYTHING,
        cost: Callable[[Point], float] | None = None,
    ):
        self._folder = folder
        self._label = label
        self._share = share
        self._cost = cost
        self._count = 0
        self.seconds_before = 0.0
        on_process_zero(self._prepare)

    def _prepare(self) -> None:
        storage.make_folder(self._folder)
        for path in sorted(self._folder.iterdir()):
            if not path.name.startswith(storage.TEMPORARY):
                self._check(path)
            elif self._share.count == 1:
                path.unlink()  # left by a run that was killed while writing

    @staticmethod
    def _check(path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise UsageError(f"{path} is not a file of this run; move it away and run again")
        if storage.digest(path.read_bytes()) != match["digest"]:
            raise UsageError(
                f"{path} is damaged: its content is not what was written; "
                "delete it and run again to measure that point anew"
            )

    def obtain(
        self, points: Sequence[Point], measure_point: Callable[[Point], xr.Dataset]
    ) -> list[xr.Dataset]:
        """The points of the next sweep: from their files, or measured and saved.

        Raises:
          PointsMissing: once all that may be measured here is there, if others are not.
        """
        found = []
        for position, point in enumerate(progress(points, self._label, self._cost)):
            stem = self._next_name(point)
            content = on_process_zero(functools.partial(self._load, stem))
            if content is None:
                if not self._share.owns(position):
                    continue
                begun = time.monotonic()
                measured = storage.to_bytes(measure_point(point))
                save = functools.partial(self._save, stem, measured, time.monotonic() - begun)
                content = on_process_zero(save)
            # Read back, so that a run that was never killed computes with what a resumed one reads.
            found.append(storage.from_bytes(content))
        if len(found) < len(points):
            raise PointsMissing(len(points) - len(found), len(points))
        return found

    def _load(self, stem: str) -> bytes | None:
        saved = sorted(self._folder.glob(f"{stem}-*.nc"))
        match = _NAME.fullmatch(saved[0].name) if saved else None
        if match is None:
            return None
        self.seconds_before += float(match["seconds"])
        return saved[0].read_bytes()

    def _save(self, stem: str, content: bytes, seconds: float) -> bytes:
        name = f"{stem}-{seconds:.1f}s-{storage.digest(content)}.nc"
        storage.write_bytes(self._folder / name, content)
        return content

    def _next_name(self, point: Point) -> str:
        identity = json.dumps(dict(point), sort_keys=True).encode()
        self._count += 1
        return f"{self._count - 1:05d}-{hashlib.sha256(identity).hexdigest()[:12]}"


_ACTIVE: contextvars.ContextVar[PointStore | None] = contextvars.ContextVar("store", default=None)


@contextlib.contextmanager
def saving_points(store: PointStore) -> Iterator[None]:
    """Makes `sweep` keep its points in `store`."""
    token = _ACTIVE.set(store)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def sweep(
    points: Sequence[Point], measure_point: Callable[[Point], xr.Dataset]
) -> list[xr.Dataset]:
    """Measures every point, in order.

    Under the runner each finished point is saved, and taken from its file when the same run is
    started again. Elsewhere the points are just computed.

    Args:
      points: what distinguishes one point from another, as numbers and strings.
      measure_point: makes a point's dataset; it must depend on nothing but the point and
        what the run's configuration fixes.
    """
    store = _ACTIVE.get()
    if store is None:
        return [measure_point(point) for point in points]
    return store.obtain(points, measure_point)
