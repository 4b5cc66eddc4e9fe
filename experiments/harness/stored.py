"""Finished runs, as they lie in a folder of results."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .claims import Claim

# From the one that says most to the one that says least.
_PRESETS = ("full", "paper", "quick")
# What pages show of a record.
_FIELDS = {
    *("experiment", "summary", "preset", "seed", "config", "command", "seconds", "utc"),
    *("commit", "dirty", "versions", "backend", "device_kind"),
}


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """One finished run.

    Attributes:
      folder: where its files are.
      record: its provenance.json.
      claims: None if claims.json is damaged or missing.
      shown: digest of the code that its claims and figures are of; None if that is not known.
      details: what its second figure shows, in words; "" if that is not known.
    """

    folder: Path
    record: dict[str, Any]
    claims: tuple[Claim, ...] | None
    shown: str | None
    details: str

    @property
    def name(self) -> str:
        """The experiment's name."""
        return str(self.record["experiment"])

    @property
    def preset(self) -> str:
        """The size that it was run at."""
        return str(self.record["preset"])

    def file(self, name: str) -> Path | None:
        """The path of one of its files, if it has it."""
        path = self.folder / name
        return path if path.exists() else None


def read(folder: Path) -> StoredRun | None:
    """The finished run of a folder, if it holds a whole record of one."""
    try:
        record = json.loads((folder / "provenance.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _FIELDS:
        return None  # the runner refuses such a folder and says why
    shown = _shown(folder)
    return StoredRun(folder, record, _claims(folder), shown.get("code"), shown.get("details", ""))


def finished(results: Path) -> Iterator[StoredRun]:
    """All runs of a folder of results, by the names of their folders."""
    for path in sorted(results.glob("*/*/provenance.json")):
        run = read(path.parent)
        if run is not None:
            yield run


def newest(results: Path, backend: str | None = None) -> dict[str, list[StoredRun]]:
    """The newest run of each experiment at each preset, the most thorough preset first.

    Args:
      backend: "cpu", "gpu" or "tpu": only runs on it count; all of them if None.
    """
    found: dict[tuple[str, str], StoredRun] = {}
    for run in finished(results):
        if backend not in (None, run.record["backend"]):
            continue
        before = found.get((run.name, run.preset))
        if before is None or before.record["utc"] <= run.record["utc"]:
            found[run.name, run.preset] = run
    by_name: dict[str, list[StoredRun]] = {}
    for run in sorted(found.values(), key=lambda run: (run.name, _rank(run.preset), run.preset)):
        by_name.setdefault(run.name, []).append(run)
    return by_name


def _rank(preset: str) -> int:
    return _PRESETS.index(preset) if preset in _PRESETS else len(_PRESETS)


def _shown(folder: Path) -> dict[str, str]:
    """What shown.json says; nothing if it is damaged or missing."""
    try:
        content = json.loads((folder / "shown.json").read_text("utf-8"))
        return {key: str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _claims(folder: Path) -> tuple[Claim, ...] | None:
    try:
        rows = json.loads((folder / "claims.json").read_text("utf-8"))
        return tuple(Claim.from_json(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        return None
