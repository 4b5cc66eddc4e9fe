"""Every figure with its claims beside it, as one page that needs nothing but its folder."""

import html
import json
from pathlib import Path
from typing import Any

from . import storage

Rows = list[dict[str, Any]]

_STYLE = """
:root { color-scheme: light dark; --edge: #8884; --good: #1a7f37; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
section { border-top: 1px solid var(--edge); padding: 1rem 0; }
img { background: white; height: auto; max-width: 100%; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { border-bottom: 1px solid var(--edge); padding: .25rem .5rem; text-align: left; }
td.number { font-variant-numeric: tabular-nums; text-align: right; white-space: nowrap; }
nav ul { columns: 18rem; list-style: none; padding: 0; }
.holds { color: var(--good); font-weight: 600; }
.fails { color: var(--bad); font-weight: 700; }
"""


def write_report(results: Path) -> Path:
    """Writes `index.html` over the newest run of each experiment and preset; returns its path."""
    runs = [(folder, record, _claims(folder)) for folder, record in _newest(results)]
    sections = [_section(results, folder, record, rows) for folder, record, rows in runs]
    body = "\n".join([_contents(runs), *sections]) if runs else "<p>No finished run was found.</p>"
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>sigjax: results</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>sigjax: results</h1>\n{body}\n</body>\n</html>\n"
    )
    path = results / "index.html"
    storage.write_bytes(path, page.encode())
    return path


def _newest(results: Path) -> list[tuple[Path, dict[str, Any]]]:
    newest: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    for path in sorted(results.glob("*/*/provenance.json")):
        try:
            record = json.loads(path.read_text("utf-8"))
            key, time = (record["experiment"], record["preset"]), record["utc"]
        except (ValueError, KeyError, TypeError):
            continue  # the runner refuses such a folder and says why
        if key not in newest or newest[key][1]["utc"] <= time:
            newest[key] = path.parent, record
    return [newest[key] for key in sorted(newest)]


def _claims(folder: Path) -> Rows | None:
    try:
        return json.loads((folder / "claims.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _anchor(record: dict[str, Any]) -> str:
    return html.escape(f"{record['experiment']}-{record['preset']}", quote=True)


def _contents(runs: list[tuple[Path, dict[str, Any], Rows | None]]) -> str:
    """Where to find what, and how many claims hold of each and of all."""
    verdicts = [row["verdict"] for _, _, rows in runs for row in rows or []]
    items = []
    for _, record, rows in runs:
        found = [row["verdict"] for row in rows or []]
        failing = found.count("fails")
        if failing:
            mark = f'<span class="fails">{failing} fail</span>'
        else:
            mark = f"{found.count('holds')} hold" if "holds" in found else "for information"
        title = f'<a href="#{_anchor(record)}">{html.escape(record["experiment"])}</a>'
        items.append(f"<li>{title} <small>{mark}</small></li>")
    return (
        f"<p>{verdicts.count('holds')} claims hold, {verdicts.count('fails')} fail, "
        f"{verdicts.count(None)} are reported for information.</p>\n"
        f"<nav><ul>\n{chr(10).join(items)}\n</ul></nav>"
    )


def _section(results: Path, folder: Path, record: dict[str, Any], rows: Rows | None) -> str:
    where = html.escape(folder.relative_to(results).as_posix(), quote=True)
    title = f"{record['experiment']} ({record['preset']}, seed {record['seed']})"
    versions = record["versions"]
    has_table = (folder / "table.md").exists()
    table = f'<a href="{where}/table.md">table</a>, ' if has_table else ""
    origin = (
        f"{record['device_kind']} ({record['backend']}), jax {versions['jax']}, "
        f"{record['seconds']} s, {record['utc']}, commit {record['commit']}"
        f"{' with changes' if record['dirty'] else ''}"
    )
    return (
        f'<section id="{_anchor(record)}">\n<h2>{html.escape(title)}</h2>\n'
        f"<p>{html.escape(record.get('summary', ''))}</p>\n"
        f'<a href="{where}/figure.pdf"><img src="{where}/figure.png" '
        f'alt="Figure of {html.escape(title, quote=True)}"></a>\n'
        f"{_table(rows)}\n<p><small>{html.escape(origin)}. "
        f"{table}"
        f'<a href="{where}/data.nc">data</a>, <a href="{where}/claims.json">claims</a>, '
        f'<a href="{where}/provenance.json">provenance</a></small></p>\n</section>'
    )


def _table(rows: Rows | None) -> str:
    if rows is None:
        return "<p>claims.json is damaged or missing; run the experiment to have it made again.</p>"
    if not rows:
        return "<p>No claims.</p>"
    lines = [_row(row) for row in rows]
    head = (
        "<tr><th>verdict</th><th>claim</th><th>measured</th><th>expected</th><th>source</th></tr>"
    )
    return f'<div class="wide"><table>\n{head}\n' + "\n".join(lines) + "\n</table></div>"


def _row(row: dict[str, Any]) -> str:
    verdict = row["verdict"] or "reported"
    expected = f"{row['relation']} {_number(row['expected'])}"
    if row["tolerance"]:
        share = " of it" if row["relative"] else ""
        expected += f" ± {_number(row['tolerance'])}{share}"
    return (
        f'<tr><td class="{verdict}">{verdict}</td><td>{html.escape(row["name"])}</td>'
        f'<td class="number">{_number(row["measured"])}</td>'
        f'<td class="number">{html.escape(expected)}</td>'
        f"<td>{html.escape(row['source'])}</td></tr>"
    )


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else html.escape(str(value))
