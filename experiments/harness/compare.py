"""What changed between two runs, or between two folders of results, beyond tolerance."""

import dataclasses
import math
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from .claims import Claim
from .pages import write_page
from .stored import StoredRun, newest, read
from .usage import UsageError

Change = Literal["verdict", "measured", "expected", "missing", "new"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A claim of two runs; None where a run lacks it."""

    name: str
    before: Claim | None
    after: Claim | None

    @property
    def change(self) -> Change | None:
        """What changed beyond tolerance.

        The measured number of a bound, or of a reported claim, may change as it likes while the
        verdict stays the same.
        """
        before, after = self.before, self.after
        if before is None or after is None:
            return "new" if before is None else "missing"
        if before.verdict != after.verdict:
            return "verdict"
        if "reported" in (before.kind, after.kind):
            return None
        if before.relation != after.relation or _moved(
            before.expected, after.expected, before.allowance
        ):
            return "expected"
        if before.relation == "==" and _moved(before.measured, after.measured, before.allowance):
            return "measured"
        return None

    @property
    def is_same(self) -> bool:
        """Whether not even the number differs."""
        if self.before is None or self.after is None:
            return False
        return self.change is None and not _moved(self.before.measured, self.after.measured, 0.0)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs of an experiment.

    Attributes:
      differences: of every claim, those that changed first.
    """

    before: StoredRun
    after: StoredRun
    differences: tuple[Difference, ...]

    @property
    def title(self) -> str:
        """The experiment and its presets."""
        presets = dict.fromkeys((self.before.preset, self.after.preset))
        return f"{self.before.name} ({' -> '.join(presets)})"

    @property
    def changed(self) -> tuple[Difference, ...]:
        """Those beyond tolerance."""
        return tuple(one for one in self.differences if one.change)

    @property
    def conditions(self) -> dict[str, tuple[Any, Any]]:
        """Under what the runs were made, where that differs."""
        before, after = _conditions(self.before), _conditions(self.after)
        names = dict.fromkeys([*before, *after])
        pairs = {name: (before.get(name), after.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


@dataclasses.dataclass(frozen=True)
class Comparisons:
    """Two folders.

    Attributes:
      shared: the runs that both have.
      only_before, only_after: experiments and presets that one of them has.
    """

    shared: tuple[Comparison, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Those of all runs."""
        return tuple(one for pair in self.shared for one in pair.differences)

    @property
    def summary(self) -> str:
        """How many claims changed, in a line."""
        total = self.differences
        changed, same = sum(bool(one.change) for one in total), sum(one.is_same for one in total)
        return (
            f"{len(total)} claims of {len(self.shared)} runs: {changed} changed beyond tolerance, "
            f"{len(total) - changed - same} within it, {same} are the same"
        )

    @property
    def is_unchanged(self) -> bool:
        """Whether nothing changed beyond its tolerance."""
        return not any(pair.changed for pair in self.shared)


def compare(before: Path, after: Path) -> Comparisons:
    """Compares two folders of one run each, or two folders of results, experiment by experiment.

    Of several runs at the same preset the newest counts.

    Raises:
      UsageError: if there is nothing to compare, or claims are damaged.
    """
    one, other = read(before), read(after)
    if one is not None and other is not None:
        if one.name != other.name:
            raise UsageError(f"{before} is of {one.name}, {after} of {other.name}")
        return Comparisons((_compared(one, other),))
    olds, news = _runs(before), _runs(after)
    shared = tuple(_compared(olds[key], news[key]) for key in olds if key in news)
    if not shared:
        raise UsageError(f"{before} and {after} have no experiment at the same preset in common")
    return Comparisons(
        shared,
        tuple(f"{name} ({preset})" for name, preset in olds if (name, preset) not in news),
        tuple(f"{name} ({preset})" for name, preset in news if (name, preset) not in olds),
    )


def lines(comparisons: Comparisons) -> Iterator[str]:
    """What changed, for a terminal."""
    for pair in comparisons.shared:
        if not pair.changed:
            continue
        yield pair.title
        for name, (before, after) in pair.conditions.items():
            yield f"  made with other {name}: {_short(before)} -> {_short(after)}"
        for one in pair.changed:
            yield f"  {one.change:8} {one.name}: {_told(one.before)} -> {_told(one.after)}"
    for where, names in (("first", comparisons.only_before), ("second", comparisons.only_after)):
        if names:
            yield f"only in the {where}: {', '.join(names)}"
    yield comparisons.summary


def write_comparison(path: Path, comparisons: Comparisons) -> Path:
    """Writes the same as a page, with the figures side by side; returns its path."""

    def pictures(pair: Comparison) -> list[tuple[str | None, str | None]]:
        """Where the figures of both runs are, row by row."""
        rows = []
        for name in ("figure.png", "details.png"):
            files = [run.file(name) for run in (pair.before, pair.after)]
            if any(files):
                old, new = (_address(file, path.parent) if file else None for file in files)
                rows.append((old, new))
        return rows

    shared = sorted(comparisons.shared, key=lambda pair: not pair.changed)
    return write_page(
        path,
        "compare.html",
        comparisons=comparisons,
        pairs=[(pair, pictures(pair)) for pair in shared],
    )


def _address(file: Path, folder: Path) -> str:
    """Of a file, for a page in the folder."""
    return Path(os.path.relpath(file, folder)).as_posix()


def _runs(results: Path) -> dict[tuple[str, str], StoredRun]:
    if not results.is_dir():
        raise UsageError(f"there is no folder {results}")
    found = {(run.name, run.preset): run for runs in newest(results).values() for run in runs}
    if not found:
        raise UsageError(f"{results} holds no finished run, nor is it one")
    return found


def _compared(before: StoredRun, after: StoredRun) -> Comparison:
    olds, news = _by_name(before), _by_name(after)
    differences = [
        Difference(name, olds.get(name), news.get(name)) for name in dict.fromkeys([*olds, *news])
    ]
    return Comparison(before, after, tuple(sorted(differences, key=lambda one: not one.change)))


def _by_name(run: StoredRun) -> dict[str, Claim]:
    """The claims by what they are about.

    Names may end in parentheses that say where the worst was found. That is measured, too, and may
    differ between runs: parentheses are dropped where no other claim has the same rest of a name.
    """
    if run.claims is None:
        raise UsageError(
            f"{run.folder / 'claims.json'} is damaged or missing; run the experiment to have it "
            "made again"
        )
    stems = [re.sub(r" \([^()]*\)$", "", claim.name) for claim in run.claims]
    return {
        stem if stems.count(stem) == 1 else claim.name: claim
        for stem, claim in zip(stems, run.claims, strict=True)
    }


def _conditions(run: StoredRun) -> dict[str, Any]:
    record = run.record
    names = ("preset", "seed", "backend", "device_kind", "commit", "code")
    settings = {name: record.get(name) for name in names}
    return settings | record["versions"] | {f"--{k}": v for k, v in record["config"].items()}


def _moved(before: float | None, after: float | None, allowance: float) -> bool:
    if before is None or after is None:
        return before is not after
    if before == after or (math.isnan(before) and math.isnan(after)):
        return False  # inf - inf would be NaN
    return not abs(after - before) <= allowance


def _short(setting: Any) -> str:
    return textwrap.shorten(str(setting), 60, placeholder=" ...")


def _told(claim: Claim | None) -> str:
    return "not there" if claim is None else f"{claim.measured:.6g} {claim.verdict}"
