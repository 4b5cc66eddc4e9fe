"""One published result: what was run, on which code, and what came out, as JSON."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.harness import storage
from experiments.harness.claims import Claim
from experiments.harness.stored import StoredRun


@dataclasses.dataclass(frozen=True)
class Published:
    """A result in the gallery.

    Attributes:
      name: the experiment's.
      record: all that its JSON says.
    """

    name: str
    record: Mapping[str, Any]

    @property
    def claims(self) -> list[Claim]:
        """What it was held to."""
        return [Claim.from_json(row) for row in self.record["claims"]]


def record_of(run: StoredRun, files: Mapping[str, bytes], thinned: str) -> dict[str, Any]:
    """The JSON of a finished run.

    Args:
      run: with claims.
      files: what is published beside it; their digests tell whether all of them are there.
      thinned: what the data file leaves out.
    """
    record = run.record
    return {
        "experiment": run.name,
        "summary": record["summary"],
        "preset": run.preset,
        "digest": record["code"],
        "shown": run.shown,
        "commit": record["commit"],
        "dirty": record["dirty"],
        "seed": record["seed"],
        "device": ", ".join({record["backend"]: "", record["device_kind"]: ""}),  # cpu is both
        "versions": record["versions"],
        "utc": record["utc"],
        "seconds": record["seconds"],
        "config": record["config"],
        "details": run.details,
        "thinned": thinned,
        "files": {name: storage.digest(content) for name, content in files.items()},
        "claims": [claim.to_json() for claim in run.claims or ()],
    }


def read(folder: Path) -> dict[str, Published]:
    """The published results of a folder, by the experiments' names."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.stem] = Published(path.stem, json.loads(path.read_text("utf-8")))
    return found


def damaged(folder: Path, result: Published) -> list[str]:
    """The files of a result that are missing, or not those that were published with it."""
    return [
        name
        for name, digest in result.record["files"].items()
        if not (folder / name).exists() or storage.digest((folder / name).read_bytes()) != digest
    ]
