"""The gallery's pages in Markdown: one a result, and one that leads to them by theme."""

import re
from collections.abc import Iterable, Mapping

from experiments.harness import experiment
from experiments.harness.claims import Claim, Verdict
from experiments.harness.notes import notes, without_tex
from experiments.harness.pages import expected, number, tolerance
from experiments.harness.papers import linked
from experiments.harness.report import describe, describe_details
from experiments.harness.table import format_counts

from .record import Published


def page(result: Published, package: str) -> str:
    """A result with its figures, claims, and where it comes from.

    All of it is what the published record says, and today's docstring of the experiment.

    Args:
      result: as published.
      package: what the experiment is of.
    """
    record = result.record
    summary = str(record["summary"])
    verdicts = _counts(claim.verdict for claim in result.claims)
    changes = ", with changes that were not committed" if record["dirty"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    config = " ".join(
        f"--{key.replace('_', '-')} {_flag(v)}" for key, v in record["config"].items()
    )
    links = ", ".join(f"[{what}]({name})" for what, name in _others(result).items())
    thinned = f" The data keep {record['thinned']}." if record["thinned"] else ""
    hero = f"![{_sentence(describe(summary, result.claims))}]({result.name}.png)"
    details = []
    if f"{result.name}-details.png" in record["files"]:
        told = _sentence(describe_details(summary, record["details"]))
        details = ["## In detail", f"![{told}]({result.name}-details.png)"]
    parts = [
        f"# {result.name}",
        _sentence(summary),
        hero,
        *(plain(note) for note in notes(package, result.name)),
        *details,
        f"## Claims: {verdicts}",
        _table(result.claims),
        "## Where it comes from",
        f"Preset `{record['preset']}`, seed {record['seed']}, on {plain(record['device'])}, in "
        f"{record['seconds']:g} s, {record['utc']}. Code `{record['digest']}` of commit "
        f"`{record['commit']}`{changes}; {plain(versions)}.",
        f"```sh\npython -m experiments run {result.name} --preset {record['preset']} "
        f"--seed {record['seed']}\n```",
        f"Its settings: `{config}`." if config else "It has no settings.",
        f"Files: {links}.{thinned}",
    ]
    return "\n\n".join(parts) + "\n"


def _others(result: Published) -> dict[str, str]:
    """The files beside a page, by what they are."""
    name = result.name
    drawn = {f"{name}.svg": "figure as SVG", f"{name}-details.svg": "details as SVG"}
    found = {"data (netCDF)": f"{name}.nc", "claims (JSON)": f"{name}.json"}
    return found | {drawn[file]: file for file in result.record["files"] if file in drawn}


def index(results: Mapping[str, Published], package: str) -> str:
    """The page of all results, in the article's order."""
    missing = [name for name in experiment.names(package) if name not in results]
    parts = [
        "# Gallery",
        "Every figure at its paper's size, with its data, claims and where it comes from, as "
        "`make publish` took it from finished runs. Of the claims of these "
        f"{counted(results)}.",
        *_below_aim(results),
        "The JSON of each says which code made it: `digest` is of what measured its data, `shown` "
        "of what made claims and figure of them.",
    ]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        parts.append(
            f"Not published yet, nor counted: {names}. `make figures` has them at quick size."
        )
    for theme, members in experiment.themes(package).items():
        shown = [results[name] for name in members if name in results]
        if shown:
            title, about = experiment.about(package, theme)
            parts += [f"## {plain(title)}", *([plain(about)] if about else [])]
            parts += [_entry(result) for result in shown]
            names = "\n".join(result.name for result in shown)
            parts.append(f"```{{toctree}}\n:hidden:\n\n{names}\n```")
    return "\n\n".join(parts) + "\n"


def _below_aim(results: Mapping[str, Published]) -> list[str]:
    """Where the numbers are that this project aims at and misses, if there are any."""
    counts = {
        name: sum(claim.verdict == "below its aim" for claim in result.claims)
        for name, result in results.items()
    }
    most = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    told = ", ".join(f"[{name}]({name}.md) {counts[name]}" for name in most)
    return [f"Below an aim of this project: {told}."] if told else []


def counted(results: Mapping[str, Published]) -> str:
    """How many claims hold and fail, as in "35 experiments 310 hold, 1 fails, ..."."""
    verdicts = [claim.verdict for result in results.values() for claim in result.claims]
    return f"{len(results)} experiments {format_counts(verdicts)}"


def _entry(result: Published) -> str:
    summary = _sentence(result.record["summary"])
    counts = _counts(claim.verdict for claim in result.claims)
    failing = [claim for claim in result.claims if claim.verdict == "fails"]
    told = f" **Fails:** {'; '.join(plain(claim.name) for claim in failing)}." if failing else ""
    image = f"[![{summary}]({result.name}.png)]({result.name}.md)"
    return f"### [{result.name}]({result.name}.md)\n\n{summary} {counts}.{told}\n\n{image}"


def _table(claims: list[Claim]) -> str:
    rows = ["| verdict | claim | measured | expected | tolerance | source |", "|---" * 6 + "|"]
    for claim in claims:
        verdict = "**fails**" if claim.verdict == "fails" else claim.verdict
        cells = (
            verdict,
            plain(claim.name),
            number(claim.measured),
            expected(claim),
            tolerance(claim),
            _source(claim.source),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _source(source: str) -> str:
    pieces = linked(source)
    return "".join(f"[{_unmarked(text)}]({to})" if to else _unmarked(text) for text, to in pieces)


def _counts(verdicts: Iterable[Verdict]) -> str:
    """Without those of which there is none, as in "12 hold, 1 fails"."""
    parts = format_counts(verdicts).split(", ")
    return ", ".join(part for part in parts if not part.startswith("0 "))


def _sentence(text: str) -> str:
    """Of a docstring: formulas without TeX."""
    return plain(re.sub(r"\$([^$]*)\$", lambda formula: without_tex(formula[1]), text))


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to mark."""
    return _unmarked(" ".join(text.split()))


def _unmarked(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|$#~^])", r"\\\1", text)


def _flag(value: object) -> str:
    """As it is typed after a flag."""
    return " ".join(map(_flag, value)) if isinstance(value, list) else str(value)
