"""Copies what finished runs measured into README, the documentation and the certificates.

    python -m experiments.tools.publish [--preset quick] [--results results]
    (or: make publish)

Takes finished runs at the papers' sizes, or at another preset if one is named. The tables between
`<!-- NAME -->` and `<!-- /NAME -->` in docs/accuracy.md and docs/speed.md are replaced by those of
the newest run of that experiment, and what stands between `<!-- NAME in brief -->` and its end in
README.md by the most important of it. Runs at the papers' sizes go into `docs/gallery/`, too, whose
claims README counts, and the newest of `certify` makes the certificate in `certificates/` (if it
tried some functions or derivatives only, they replace theirs). All of these are of CPUs; runs on a
GPU of `accuracy` and `certify` have a place of their own in docs/accuracy.md, and the latter a
certificate. What has no run stays.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from experiments.functions import certify
from experiments.harness import storage
from experiments.harness.flags import parsed
from experiments.harness.program import carried_out
from experiments.harness.stored import StoredRun, newest
from experiments.harness.usage import UsageError

from . import _brief, gallery

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to publish, and where to read it from."""

    preset: Literal["quick", "paper"] = "paper"
    """Whose runs are published; those at quick size have no place in the gallery."""
    results: Path = Path("results")
    """Folder that holds the results."""


def _at(preset: str, runs: Sequence[StoredRun]) -> Path | None:
    """The folder of an experiment's run at a preset."""
    return next((run.folder for run in runs if run.preset == preset), None)


_RUN = ("commit", "utc", "seconds")  # of a record


def certificate(folder: Path, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a run of `certify` of all numbers found, with where and when.

    A run of some functions or derivatives replaces theirs in the certificate from `before`, and
    notes its own commit and time beside them.
    """
    record = json.loads((folder / "provenance.json").read_text("utf-8"))
    dataset = storage.from_bytes((folder / "data.nc").read_bytes())
    errors: dict[str, dict[str, Any]] = {}
    for (function, order), (ulp, at) in certify.largest(dataset).items():
        above = float(dataset["above_1"].sel(function=function, order=order).sum())
        errors.setdefault(function, {})[order] = {
            "largest_error_ulp": round(ulp, 6),
            "at": float(at),
            "inputs_above_1_ulp": int(above),
        }
    partial = len(errors) < len(certify.FUNCTIONS) or dataset.sizes["order"] < len(certify.ORDERS)
    if partial:
        return _renewed(before, errors, int(dataset["wrong"].sum()), record, folder)
    origin = ("versions", "backend", "device_kind", "machine", "dirty", *_RUN)
    return {
        "dtype": "float32",
        "inputs_of_each_function": int(dataset["tried"].sum()) // len(errors),
        "wrong_zero_infinity_or_nan": int(dataset["wrong"].sum()),
        "errors": errors,
        "mixed_bound": "within 0.1 of a root of a derivative of silu the ulp is at least 2^-30",
        **{key: record[key] for key in origin},
    }


def _renewed(
    before: Mapping[str, Any] | None,
    errors: Mapping[str, dict[str, Any]],
    wrong: int,
    record: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """The certificate with some cells measured again, by the same versions, on clean code."""
    known = before is not None and before["versions"].items() <= record["versions"].items()
    if before is None or not known or record["dirty"]:
        raise UsageError(f"{folder} tried a part, and no certificate of the same versions is there")
    run = {key: record[key] for key in _RUN}
    cells = {
        function: of_function
        | {order: cell | run for order, cell in errors.get(function, {}).items()}
        for function, of_function in before["errors"].items()
    }
    wrong += before["wrong_zero_infinity_or_nan"]
    return {**before, "wrong_zero_infinity_or_nan": wrong, "errors": cells}


def _certified(content: Mapping[str, Any]) -> str:
    return certify.markdown(
        {
            (function, order): (cell["largest_error_ulp"], cell["at"])
            for function, cells in content["errors"].items()
            for order, cell in cells.items()
        }
    )


class _Pages:
    """The texts that have places for results, written when all of them are put in."""

    def __init__(self, root: Path):
        self._root = root
        self._texts: dict[str, str] = {}

    def put(self, page: str, name: str, content: str) -> None:
        """Replaces what stands between the markers of a result."""
        text = self._texts.get(page) or (self._root / page).read_text("utf-8")
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not marked.search(text):
            raise UsageError(f"{page} has no place for a result: <!-- {name} -->")
        self._texts[page] = marked.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)

    def write(self) -> None:
        """Writes those that changed."""
        for page, text in self._texts.items():
            storage.write_bytes(self._root / page, text.encode())


# Where the whole table of an experiment stands, and what README says of it.
_TABLES = {
    "accuracy": "docs/accuracy.md",
    "speed": "docs/speed.md",
    "speed_gates": "docs/speed.md",
}
# Where docs/accuracy.md shows the certificate of a backend.
_CERTIFIED = {"cpu": "certify", "gpu": "certify on gpu"}
_BRIEF = {"speed": _brief.speed, "gates_low_precision": _brief.gates}


def _table(folder: Path) -> str:
    return f"\n{(folder / 'table.md').read_text('utf-8').strip()}\n"


def publish(results: Path, preset: str = "paper", root: Path = ROOT) -> list[str]:
    """Writes what there is at a preset; returns what was written."""
    written = []
    pages = _Pages(root)
    runs = {backend: newest(results, backend) for backend in _CERTIFIED}
    if preset == "paper":  # first, since README has its numbers
        written += _certify(runs, pages, root)
    certified = json.loads((root / "certificates" / "float32-cpu.json").read_text("utf-8"))
    brief: dict[str, Callable[[xr.Dataset], str]] = {
        "accuracy": partial(_brief.accuracy, certified=certified["errors"]),
        **_BRIEF,
    }
    for name in sorted({*_TABLES, *brief}):
        folder = _at(preset, runs["cpu"].get(name, ()))
        if folder is None:
            continue
        if name in _TABLES:
            pages.put(_TABLES[name], name, _table(folder))
        if name in brief:
            dataset = storage.from_bytes((folder / "data.nc").read_bytes())
            pages.put("README.md", f"{name} in brief", brief[name](dataset))
        written.append(f"{name} from {folder}")
    on_gpu = _at(preset, runs["gpu"].get("accuracy", ()))
    if on_gpu is not None:
        pages.put(_TABLES["accuracy"], "accuracy on gpu", _table(on_gpu))
        written.append(f"accuracy on gpu from {on_gpu}")
    pages.write()
    return written


def _certify(
    runs: Mapping[str, Mapping[str, Sequence[StoredRun]]], pages: _Pages, root: Path
) -> list[str]:
    """Writes a certificate for each backend with a run of `certify`; returns what was written."""
    written = []
    for backend, place in _CERTIFIED.items():
        tried = _at("paper", runs[backend].get("certify", ()))
        if tried is None:
            continue
        path = root / "certificates" / f"float32-{backend}.json"
        before = json.loads(path.read_text("utf-8")) if path.exists() else None
        content = certificate(tried, before)
        storage.write_bytes(path, f"{json.dumps(content, indent=2)}\n".encode())
        pages.put("docs/accuracy.md", place, f"\n{_certified(content)}\n")
        written.append(f"docs/accuracy.md and {path.name}: certify from {tried}")
    return written


def main(argv: Sequence[str]) -> int:
    """Publishes and tells; 0."""
    options = parsed(Options, argv, prog="python -m experiments.tools.publish")
    written = publish(options.results, options.preset)
    if options.preset == "paper":
        folder = ROOT / "docs" / "gallery"
        written += gallery.publish_gallery(options.results, folder)
        pages = _Pages(ROOT)
        pages.put("README.md", "gallery in brief", f"of {gallery.counted(gallery.read(folder))}.")
        pages.write()
    print("\n".join(written) or "no finished run was found; pages are made anew from records")
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(lambda: main(sys.argv[1:])))
