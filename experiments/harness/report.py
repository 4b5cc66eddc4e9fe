"""Every figure with its claims beside it, as one page that needs nothing but its folder."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import experiment
from .claims import Claim, Verdict
from .inline_svg import inline_svg
from .notes import notes
from .pages import expected, number, write_page
from .stored import StoredRun, newest
from .table import format_counts

# What a run leaves for whoever wants to go on with it, as the page names it.
_FILES = {
    "data (netCDF)": "data.nc",
    "claims": "claims.json",
    "table": "table.md",
    "figure as PDF": "figure.pdf",
    "as SVG": "figure.svg",
    "as PNG": "figure.png",
    "details as PDF": "details.pdf",
    "details as SVG": "details.svg",
    "details as PNG": "details.png",
    "provenance": "provenance.json",
}
_OTHERS = "others"  # the theme of what is no experiment of the package any more


@dataclasses.dataclass(frozen=True)
class Found:
    """A claim, and where the page has it."""

    experiment: str
    anchor: str
    claim: Claim


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Attributes:
      finding: what it shows, in words.
      svg: the figure as an element, unless it is too large.
      path: the figure as PNG: its path from the page.
    """

    finding: str
    svg: str | None
    path: str | None


@dataclasses.dataclass(frozen=True)
class Shown:
    """A run as the page shows it.

    Attributes:
      anchor: the id of its part of the page.
      record: its provenance.
      claims: None if they are damaged.
      count: how many claims have which verdict.
      figure: the figure.
      details: the second figure, if there is one.
      files: what they are and their paths.
    """

    anchor: str
    record: dict[str, Any]
    claims: tuple[Found, ...] | None
    count: Counter[Verdict]
    figure: Picture
    details: Picture | None
    files: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """An experiment and its runs, of which the most thorough comes first and counts.

    Attributes:
      notes: what its docstring says of figure, paper and what must be seen.
    """

    name: str
    theme: str
    notes: list[str]
    runs: list[Shown]

    @property
    def run(self) -> Shown:
        """The run that counts."""
        return self.runs[0]


@dataclasses.dataclass(frozen=True)
class Theme:
    """A theme's experiments that were run, with its title and what it is about."""

    name: str
    title: str
    about: str
    experiments: list[Entry]


def write_report(results: Path, package: str = "experiments") -> Path:
    """Writes `index.html` over the newest run of each experiment and preset; returns its path.

    Args:
      results: the folder of results; the page goes there.
      package: what the experiments are of; its themes give the page its order.
    """
    stored = newest(results)
    known = experiment.names(package)
    themes = [
        _theme(results, package, theme, [name for name in members if name in stored], stored)
        for theme, members in _all_themes(package, stored).items()
    ]
    themes = [theme for theme in themes if theme.experiments]
    entries = [entry for theme in themes for entry in theme.experiments]
    claims = [found for entry in entries for found in entry.run.claims or ()]
    return write_page(
        results / "index.html",
        "index.html",
        themes=themes,
        experiments=entries,
        total=Counter(found.claim.verdict for found in claims),
        failing=[found for found in claims if found.claim.verdict == "fails"],
        below=[found for found in claims if found.claim.verdict == "below its aim"],
        missing=[name for name in known if name not in stored],
    )


def _all_themes(package: str, stored: Iterable[str]) -> dict[str, tuple[str, ...]]:
    known = experiment.names(package)
    others = tuple(name for name in stored if name not in known)
    return experiment.themes(package) | {_OTHERS: others}


def _theme(
    results: Path, package: str, theme: str, names: list[str], stored: dict[str, list[StoredRun]]
) -> Theme:
    title, about = "Other experiments", ""
    if theme != _OTHERS:
        title, about = experiment.about(package, theme)
    entries = [
        Entry(name, theme, notes(package, name), [_shown(results, run) for run in stored[name]])
        for name in names
    ]
    return Theme(theme, title, about, entries)


def _shown(results: Path, run: StoredRun) -> Shown:
    anchor = f"{run.name}-{run.preset}"
    claims = tuple(
        Found(run.name, f"{anchor}-claim-{index}", claim)
        for index, claim in enumerate(run.claims or (), start=1)
    )
    files = [(title, run.file(name)) for title, name in _FILES.items()]
    summary = str(run.record["summary"])
    first, second = describe(summary, run.claims or ()), describe_details(summary, run.details)
    details = _picture(results, run, "details", f"{anchor}-details", second)
    return Shown(
        anchor=anchor,
        record=run.record,
        claims=None if run.claims is None else claims,
        count=Counter(claim.verdict for claim in run.claims or ()),
        figure=_picture(results, run, "figure", anchor, first),
        details=details if details.svg or details.path else None,
        files=[(title, path.relative_to(results).as_posix()) for title, path in files if path],
    )


def _picture(results: Path, run: StoredRun, name: str, prefix: str, finding: str) -> Picture:
    path = run.file(f"{name}.png")
    return Picture(
        finding=finding,
        svg=inline_svg(run.file(f"{name}.svg"), prefix, finding),
        path=path.relative_to(results).as_posix() if path else None,
    )


def describe(summary: str, claims: Sequence[Claim]) -> str:
    """What a run's figure shows, for somebody who does not see it: its summary and what came out.

    The first claim that fails is told, or else the first of all.
    """
    if not claims:
        return summary
    told = next((claim for claim in claims if claim.verdict == "fails"), claims[0])
    beside = f" ({expected(told)})" if expected(told) else ""
    counts = format_counts(claim.verdict for claim in claims)
    return f"{summary} {told.name}: {number(told.measured)}{beside}. Of its claims {counts}."


def describe_details(summary: str, details: str) -> str:
    """What a run's second figure shows, for somebody who does not see it."""
    return f"{summary} In detail: {details}".strip()
