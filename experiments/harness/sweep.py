"""The points of an experiment's sweep: measured one by one, each saved as it is finished."""

import contextlib
import contextvars
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from . import storage
from .progress import progress
from .refusal import Refusal

Point = Mapping[str, Any]

_NAME = re.compile(r"\d{5}-[0-9a-f]{12}-(?P<digest>[0-9a-f]{64})\.nc")


class PointStore:
    """A folder with one file a point, whose name holds the SHA-256 of its content."""

    def __init__(self, folder: Path, label: str):
        self._folder = folder
        self.label = label
        self._count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refusal(f"cannot make the folder {folder}: {error.strerror}") from error
        for path in sorted(folder.iterdir()):
            if path.name.startswith(storage.TEMPORARY):
                path.unlink()  # left by a run that was killed while writing
            else:
                self._check(path)

    @staticmethod
    def _check(path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise Refusal(f"{path} is not a file of this run; move it away and run again")
        if storage.digest(path.read_bytes()) != match["digest"]:
            raise Refusal(
                f"{path} is damaged: its content is not what was written; "
                "delete it and run again to measure that point anew"
            )

    def obtain(self, point: Point, measure_point: Callable[[Point], xr.Dataset]) -> xr.Dataset:
        """Loads the next point if it was finished before, else measures and saves it."""
        identity = json.dumps(dict(point), sort_keys=True).encode()
        stem = f"{self._count:05d}-{hashlib.sha256(identity).hexdigest()[:12]}"
        self._count += 1
        found = sorted(self._folder.glob(f"{stem}-*.nc"))
        if found:
            return storage.from_bytes(found[0].read_bytes())
        content = storage.to_bytes(measure_point(point))
        if jax.process_index() == 0:
            storage.write_bytes(self._folder / f"{stem}-{storage.digest(content)}.nc", content)
        # Read back, so that a run that was never killed computes with what a resumed one reads.
        return storage.from_bytes(content)


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
    return [
        store.obtain(point, measure_point) for point in progress(points, len(points), store.label)
    ]
