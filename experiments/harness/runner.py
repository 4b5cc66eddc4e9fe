"""Runs one experiment into its folder."""

import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from matplotlib import pyplot as plt

from . import storage
from .claims import Claim
from .experiment import Experiment
from .provenance import provenance
from .refusal import Refusal
from .style import style
from .sweep import EVERYTHING, NOTHING, PointsMissing, PointStore, Share, saving_points

_FILES = {
    "data.nc",
    "claims.json",
    "table.md",
    "figure.png",
    "figure.pdf",
    "provenance.json",
    ".lock",
}

_SHARD_LOCK = ".lock-shard-"


@dataclasses.dataclass(frozen=True)
class Run:
    """An experiment with its configuration, and where its results go."""

    experiment: Experiment
    config: Any
    preset: str
    seed: int
    results: Path

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.__name__.rpartition(".")[2]

    @property
    def folder(self) -> Path:
        """`results/NAME/PRESET-seedN-HASH`; the hash is of the configuration's fields."""
        fields = json.dumps(dataclasses.asdict(self.config), sort_keys=True, default=str)
        code = hashlib.sha256(fields.encode()).hexdigest()[:8]
        return self.results / self.name / f"{self.preset}-seed{self.seed}-{code}"


def measure_share(request: Run, share: Share) -> str:
    """Measures one share of the points, beside other processes that measure theirs.

    Returns:
      What is there now, in words.

    Raises:
      Refusal: as `run`.
    """
    folder = _made(request.folder)
    if not hasattr(request.experiment, "sweep"):
        return "has no points to share out: merge measures it"
    with _locked(folder, share):
        _refuse_foreign(folder)
        if _finished(folder) is not None:
            return "measured before"
        with saving_points(PointStore(folder / "points", request.name, share)):
            try:
                request.experiment.measure(request.config, jax.random.key(request.seed))
            except PointsMissing as unfinished:
                return (
                    f"shard {share} has its points; {unfinished.missing} of {unfinished.total} are "
                    "the others'"
                )
    return "all points are there: merge"


def run(request: Run, *, force: bool = False, merge: bool = False) -> list[Claim]:
    """Measures what is not there yet, then judges, draws and records it.

    Args:
      force: throw away what an earlier run left in the folder.
      merge: take the points from their files, and refuse to measure those that are missing.

    Returns:
      The claims, judged.

    Raises:
      Refusal: if the folder cannot be written, is in use, or holds what is not this run's.
    """
    folder = _made(request.folder)
    with _locked(folder):
        if force:
            _clear(folder)
        _refuse_foreign(folder)
        record = _finished(folder)
        if record is None:
            dataset = _measure(request, NOTHING if merge else EVERYTHING)
        else:
            print(f"{request.name}: measured {record['utc']}; --force measures again")
            dataset = storage.from_bytes((folder / "data.nc").read_bytes())
        claims = request.experiment.claims(dataset)
        if jax.process_index() == 0:
            rows = [_json_safe(claim.to_json()) for claim in claims]
            _write_json(folder / "claims.json", rows)
            if hasattr(request.experiment, "table"):
                text = request.experiment.table(dataset)
                storage.write_bytes(folder / "table.md", f"{text}\n".encode())
            _draw(request, dataset)
        return claims


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refusal(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


def _measure(request: Run, share: Share) -> xr.Dataset:
    folder = request.folder
    begun = time.monotonic()
    store = PointStore(folder / "points", request.name, share)
    try:
        with saving_points(store):
            dataset = request.experiment.measure(request.config, jax.random.key(request.seed))
    except PointsMissing as unfinished:
        raise Refusal(
            f"{unfinished.missing} of {unfinished.total} points of {request.name} are missing in "
            f"{folder}: run the shards that were to measure them (again), then merge"
        ) from unfinished
    content = storage.to_bytes(dataset)
    if jax.process_index() == 0:
        storage.write_bytes(folder / "data.nc", content)
        record = provenance() | {
            "experiment": request.name,
            "preset": request.preset,
            "seed": request.seed,
            "config": dataclasses.asdict(request.config),
            "command": ["python", "-m", "experiments", *sys.argv[1:]],
            "seconds": round(time.monotonic() - begun, 1),
            "data_sha256": storage.digest(content),
        }
        # Last: a folder with this file has everything, and the points are not needed any more.
        _write_json(folder / "provenance.json", record)
        shutil.rmtree(folder / "points")
    return storage.from_bytes(content)


def _draw(request: Run, dataset: xr.Dataset) -> None:
    with plt.rc_context(style()):
        figure = request.experiment.plot(dataset)
        for kind, options in (("png", {"dpi": 150}), ("pdf", {"metadata": {"CreationDate": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            storage.write_bytes(request.folder / f"figure.{kind}", buffer.getvalue())
        plt.close(figure)


def _write_json(path: Path, content: Any) -> None:
    storage.write_bytes(path, (json.dumps(content, indent=2, default=str) + "\n").encode())


def _json_safe(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: they become strings."""
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _finished(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run whose data are as they were written."""
    path = folder / "provenance.json"
    if not path.exists():
        return None
    again = "--force measures anew"
    try:
        record = json.loads(path.read_text())
        expected = record["data_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is damaged; {again}") from error
    data = folder / "data.nc"
    if not data.exists() or storage.digest(data.read_bytes()) != expected:
        raise Refusal(f"{data} is damaged: it is not what the run recorded; {again}")
    return record


def _refuse_foreign(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(storage.TEMPORARY):
            path.unlink(missing_ok=True)  # left by a run that was killed while writing
        elif path.name not in _FILES | {"points"} and not path.name.startswith(_SHARD_LOCK):
            raise Refusal(f"{path} is not a file of this run; move it away and run again")


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "points", ignore_errors=True)
    for name in _FILES - {".lock"}:
        (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, share: Share = EVERYTHING) -> Iterator[None]:
    """One run at a time in a folder, or one of each share; locks die with their process."""
    if jax.process_index() != 0:
        yield
        return
    with contextlib.ExitStack() as held:
        if share == EVERYTHING:
            held.enter_context(_lock(folder / ".lock", fcntl.LOCK_EX))
        else:
            held.enter_context(_lock(folder / ".lock", fcntl.LOCK_SH))
            name = f"{_SHARD_LOCK}{share.index}-of-{share.count}"
            held.enter_context(_lock(folder / name, fcntl.LOCK_EX))
        yield


@contextlib.contextmanager
def _lock(path: Path, kind: int) -> Iterator[None]:
    try:
        file = path.open("w")
    except OSError as error:
        raise Refusal(f"cannot write in {path.parent}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            raise Refusal(f"another run is at work in {path.parent}") from error
        yield
