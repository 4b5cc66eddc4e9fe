"""Runs one experiment into its folder."""

import contextlib
import dataclasses
import functools
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from . import storage
from .claims import Claim
from .code import SHOWS, Code, code_digest
from .experiment import Experiment, summary
from .locks import SHARD_LOCK, locked
from .processes import on_process_zero
from .provenance import provenance, variant
from .settings import check_numbers
from .style import style
from .sweep import EVERYTHING, NOTHING, PointsMissing, PointStore, Share, saving_points
from .usage import UsageError

# The kinds of file that a figure is saved as; without a date, the same figure is the same file.
_KINDS: dict[str, Any] = {
    "png": {"dpi": 150},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}
_FILES = {
    "data.nc",
    "claims.json",
    "table.md",
    *(f"{figure}.{kind}" for figure in ("figure", "details") for kind in _KINDS),
    "shown.json",
    "provenance.json",
    ".lock",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment with its configuration, and where its results go.

    Attributes:
      code: what makes its results; by default today's code and versions.

    Raises:
      UsageError: as `check_numbers`, or for a seed that is not from 0 to 2^64 - 1.
    """

    experiment: Experiment
    config: Any
    preset: str
    seed: int
    results: Path
    code: Code | None = None

    def __post_init__(self) -> None:
        check_numbers(self.config)
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"--seed must be from 0 to 2^64 - 1, got {self.seed}")

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.__name__.rpartition(".")[2]

    @property
    def key(self) -> Array:
        """The random key: another one for every seed."""
        with jax.enable_x64(True):  # else only the lower 32 bits of a seed count
            return jax.random.key(np.uint64(self.seed))

    @functools.cached_property
    def made_by(self) -> Code:
        """The code that makes its results."""
        return self.code or Code.today(self.experiment.__name__)

    @functools.cached_property
    def folder(self) -> Path:
        """`results/NAME/PRESET-seedN-HASH`; the hash is of the configuration's fields and the code.

        Before it stands the `variant` of the process that made the request, as in `gpu-x64`.
        """
        made_of = [dataclasses.asdict(self.config), self.made_by]
        text = json.dumps(made_of, sort_keys=True, default=str)
        return self.results / self.name / f"{self._label}-{storage.digest(text.encode())[:8]}"

    @property
    def _label(self) -> str:
        return "-".join([self.preset, f"seed{self.seed}", *variant()])

    def made_before(self) -> "Run | None":
        """The newest finished run of the same configuration, seed and device by other code."""
        found = []
        for path in (self.results / self.name).glob(f"{self._label}-*/provenance.json"):
            try:
                record = json.loads(path.read_text("utf-8"))
                other = dataclasses.replace(self, code=Code.of_record(record))
                found.append((record["utc"], other))
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a run that refuses says why, if it is asked for
            if other.folder != path.parent:
                found.pop()  # of another configuration
        return max(found, key=lambda pair: pair[0])[1] if found else None


def measure_share(request: Run, share: Share) -> str:
    """Measures one share of the points, beside other processes that measure theirs.

    Returns:
      What is there now, in words.

    Raises:
      UsageError: as `run`.
    """
    if not hasattr(request.experiment, "sweep"):
        return "has no points to share out: merge measures it"
    with contextlib.ExitStack() as held:
        if on_process_zero(lambda: _open(request, held, share)) is not None:
            return "measured before"
        with saving_points(_store(request, share)):
            try:
                request.experiment.measure(request.config, request.key)
            except PointsMissing as unfinished:
                return (
                    f"shard {share} has its points; {unfinished.missing} of {unfinished.total} are "
                    "the others'"
                )
    return "all points are there: merge"


def reused(request: Run) -> Run:
    """The request, or the newest one by other code that has a result, where today's code has none.

    It then prints which, and what differs in the code.
    """
    before = None if (request.folder / "provenance.json").exists() else request.made_before()
    if before is None:
        return request
    print(
        f"{request.name}: reuses {before.folder}, of the same configuration, seed and device "
        f"({before.made_by.differences(request.made_by)})"
    )
    return before


def run(request: Run, *, force: bool = False, merge: bool = False) -> list[Claim]:
    """Measures what is not there yet, then judges, draws and records it.

    Args:
      force: throw away what an earlier run left in the folder.
      merge: take the points from their files, and refuse to measure those that are missing.

    Returns:
      The claims, judged.

    Raises:
      UsageError: if the folder cannot be written, is in use, or holds what is not this run's.
    """
    with contextlib.ExitStack() as held:
        content = on_process_zero(lambda: _open(request, held, EVERYTHING, force=force))
        if content is None:
            content = _measure(request, NOTHING if merge else EVERYTHING)
        dataset = storage.from_bytes(content)
        claims = request.experiment.claims(dataset)
        on_process_zero(lambda: _show(request, dataset, claims))
        return claims


def _open(
    request: Run, held: contextlib.ExitStack, share: Share, *, force: bool = False
) -> bytes | None:
    """Locks the folder until `held` is closed, and gives the data of a finished run."""
    folder = request.folder
    storage.make_folder(folder)
    held.enter_context(locked(folder, share))
    if force:
        _clear(folder)
    _refuse_foreign(folder)
    finished = _finished(folder)
    if finished is None:
        return None
    _drop_points(folder)  # left by a run that was killed while it did so
    record, content = finished
    print(f"{request.name}: measured {record['utc']}; --force measures again")
    return content


def _measure(request: Run, share: Share) -> bytes:
    folder = request.folder
    begun = time.monotonic()
    store = _store(request, share)
    try:
        with saving_points(store):
            dataset = request.experiment.measure(request.config, request.key)
    except PointsMissing as unfinished:
        raise UsageError(
            f"{unfinished.missing} of {unfinished.total} points of {request.name} are missing in "
            f"{folder}: run the shards that were to measure them (again), then merge"
        ) from unfinished
    content = storage.to_bytes(dataset)
    seconds = round(time.monotonic() - begun + store.seconds_before, 1)
    return on_process_zero(lambda: _keep(request, content, seconds))


def _store(request: Run, share: Share) -> PointStore:
    cost = getattr(request.experiment, "cost", None)
    return PointStore(request.folder / "points", request.name, share, cost)


def _keep(request: Run, content: bytes, seconds: float) -> bytes:
    folder = request.folder
    storage.write_bytes(folder / "data.nc", content)
    record = provenance() | {
        "experiment": request.name,
        "summary": summary(request.experiment.__doc__),
        "preset": request.preset,
        "seed": request.seed,
        "config": dataclasses.asdict(request.config),
        "code": request.made_by.digest,
        "command": ["python", "-m", "experiments", *sys.argv[1:]],
        "seconds": seconds,
        "data_sha256": storage.digest(content),
    }
    # Last: a folder with this file has everything, and the points are not needed any more.
    _write_json(folder / "provenance.json", record | {"record_sha256": _seal(record)})
    _drop_points(folder)
    return content


def _show(request: Run, dataset: xr.Dataset, claims: list[Claim]) -> None:
    """Claims and figures of the data, and last, which code they are of."""
    folder = request.folder
    (folder / "shown.json").unlink(missing_ok=True)
    _write_json(folder / "claims.json", [claim.to_json() for claim in claims])
    if hasattr(request.experiment, "table"):
        text = request.experiment.table(dataset)
        storage.write_bytes(folder / "table.md", f"{text}\n".encode())
    shown = {"code": code_digest(request.experiment.__name__, SHOWS)}
    _draw(folder / "figure", request.experiment.plot, dataset)
    if hasattr(request.experiment, "details"):
        _draw(folder / "details", request.experiment.details, dataset)
        shown["details"] = summary(request.experiment.details.__doc__)
    else:
        _remove_figure(folder / "details")  # of earlier code
    _write_json(folder / "shown.json", shown)


def _draw(path: Path, draw: Callable[[xr.Dataset], Figure], dataset: xr.Dataset) -> None:
    with plt.rc_context(style()):
        figure = draw(dataset)
        figure.draw_without_rendering()  # lays it out once for all files
        figure.set_layout_engine("none")
        for kind, options in _KINDS.items():
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            storage.write_bytes(path.with_suffix(f".{kind}"), buffer.getvalue())
        plt.close(figure)


def _remove_figure(path: Path) -> None:
    for kind in _KINDS:
        path.with_suffix(f".{kind}").unlink(missing_ok=True)


def _write_json(path: Path, content: Any) -> None:
    storage.write_bytes(path, (json.dumps(content, indent=2, default=str) + "\n").encode())


def _finished(folder: Path) -> tuple[dict[str, Any], bytes] | None:
    """The record and the data of a finished run, if both are as they were written."""
    path = folder / "provenance.json"
    if not path.exists():
        return None
    again = "--force measures anew"
    try:
        record = json.loads(path.read_text("utf-8"))
        seal, expected = record.pop("record_sha256"), record["data_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is damaged; {again}") from error
    if seal != _seal(record):
        raise UsageError(f"{path} is damaged: it is not what the run wrote; {again}")
    data = folder / "data.nc"
    content = data.read_bytes() if data.exists() else None
    if content is None or storage.digest(content) != expected:
        raise UsageError(f"{data} is damaged: it is not what the run recorded; {again}")
    return record, content


def _seal(record: dict[str, Any]) -> str:
    """A digest of all that a record says, so that a flipped bit of it is found."""
    return storage.digest(json.dumps(record, sort_keys=True, default=str).encode())


def _refuse_foreign(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(storage.TEMPORARY):
            path.unlink(missing_ok=True)  # left by a run that was killed while writing
        elif path.name not in _FILES | {"points"} and not path.name.startswith(SHARD_LOCK):
            raise UsageError(f"{path} is not a file of this run; move it away and run again")


def _drop_points(folder: Path) -> None:
    points = folder / "points"
    if points.is_symlink():
        points.unlink()
    elif points.exists():
        shutil.rmtree(points)


def _clear(folder: Path) -> None:
    _drop_points(folder)
    # The record goes first: a folder without it counts as not run, one with it as complete.
    for name in ("provenance.json", *sorted(_FILES - {"provenance.json", ".lock"})):
        (folder / name).unlink(missing_ok=True)
