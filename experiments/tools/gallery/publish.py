"""Takes finished runs of the papers' sizes into the gallery, whole and within its limits."""

import dataclasses
import json
from pathlib import Path

from experiments.harness import experiment, storage
from experiments.harness.code import SHOWS, code_digest
from experiments.harness.stored import StoredRun, newest
from experiments.harness.usage import UsageError

from .data import small_data, thinned
from .figure import small_png, small_svg
from .pages import index, page
from .record import Published, read, record_of

LARGEST = 15_000_000  # bytes of the whole gallery


def publish_gallery(
    results: Path,
    folder: Path,
    package: str = "experiments",
    preset: str = "paper",
    *,
    limit: int = LARGEST,
) -> list[str]:
    """Publishes the newest run, on a CPU, of each experiment with the settings of the preset.

    Args:
      results: folder of finished runs.
      folder: the gallery's. Files that a published experiment no longer makes are removed. Of the
        other experiments there, only the pages are made anew, from their records.
      package: what the experiments are of.
      preset: the size.
      limit: of all files of the gallery, in bytes.

    Returns:
      What was published, and what was not and why, a line each.

    Raises:
      UsageError: if a figure, a data file or the gallery would be too large; nothing is written.
    """
    said: list[str] = []
    pending: dict[str, bytes] = {}
    obsolete: set[Path] = set()
    published = read(folder)
    known = experiment.names(package)
    for name, runs in newest(results, "cpu").items():
        run = next((run for run in runs if run.preset == preset), None)
        if name not in known or run is None:
            continue
        reason = _unfit(run, package)
        if reason:
            said.append(f"{name}: not published, {reason}")
            continue
        files, result = _files(run)
        published[name] = result
        changed = _changed(folder, files)
        pending |= changed
        obsolete |= _own_files(folder, name) - {folder / file for file in (*files, f"{name}.md")}
        said.append(f"{name}: published {f'from {run.folder}' if changed else 'before'}")
    texts = {f"{name}.md": page(result, package) for name, result in published.items()}
    texts["index.md"] = index(published, package)
    pending |= _changed(folder, {file: text.encode() for file, text in texts.items()})
    _check_size(folder, pending, obsolete, limit)
    storage.make_folder(folder)
    for file, content in pending.items():
        storage.write_bytes(folder / file, content)
    for path in obsolete:
        path.unlink()
    return said


def _own_files(folder: Path, name: str) -> set[Path]:
    """What the gallery has of an experiment."""
    return {*folder.glob(f"{name}.*"), *folder.glob(f"{name}-details.*")}


def _changed(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files that are not there, or otherwise."""
    return {
        name: content
        for name, content in files.items()
        if not (folder / name).exists() or (folder / name).read_bytes() != content
    }


def _unfit(run: StoredRun, package: str) -> str:
    """Why a run cannot be published; "" if it can."""
    config = getattr(experiment.load(package, run.name).Config, run.preset)()
    if run.record["config"] != json.loads(json.dumps(dataclasses.asdict(config), default=str)):
        return f"{run.folder} has other settings than its preset today"
    if "code" not in run.record:
        return f"{run.folder} does not say which code made it"
    module = experiment.load(package, run.name)
    if run.shown != code_digest(module.__name__, SHOWS):
        return (
            f"claims and figure in {run.folder} are of other code; the run's command makes them "
            "anew from its data"
        )
    if not run.claims:
        return f"{run.folder} has no claims"
    data = run.file("data.nc")
    if data is None or storage.digest(data.read_bytes()) != run.record.get("data_sha256"):
        return f"{run.folder / 'data.nc'} is not what the run recorded"
    drawn = ("figure", "details") if hasattr(module, "details") else ("figure",)
    names = [f"{figure}.{kind}" for figure in drawn for kind in ("png", "svg")]
    missing = [name for name in names if run.file(name) is None]
    return f"{run.folder} has no {missing[0]}" if missing else ""


def _files(run: StoredRun) -> tuple[dict[str, bytes], Published]:
    """Names and content of what a page shows; the JSON is last and tells if all are there."""
    name = run.name
    stems = {"figure": name} | ({"details": f"{name}-details"} if run.file("details.png") else {})
    try:
        data, kept = small_data((run.folder / "data.nc").read_bytes())
        files = {
            f"{stem}.png": small_png((run.folder / f"{figure}.png").read_bytes())
            for figure, stem in stems.items()
        }
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    files[f"{name}.nc"] = data
    for figure, stem in stems.items():
        drawing = small_svg((run.folder / f"{figure}.svg").read_bytes())
        if drawing is not None:
            files[f"{stem}.svg"] = drawing
    result = Published(name, record_of(run, files, thinned(kept)))
    files[f"{name}.json"] = f"{json.dumps(result.record, indent=1)}\n".encode()
    return files, result


def _check_size(folder: Path, pending: dict[str, bytes], obsolete: set[Path], limit: int) -> None:
    kept = set(folder.glob("*.*")) - obsolete
    sizes = {path.name: path.stat().st_size for path in kept}
    sizes |= {name: len(content) for name, content in pending.items()}
    if sum(sizes.values()) > limit:
        largest = max(sizes, key=lambda name: sizes[name])
        raise UsageError(
            f"{folder} would hold {sum(sizes.values())} bytes, more than {limit}; the largest file "
            f"is {largest} with {sizes[largest]}"
        )
