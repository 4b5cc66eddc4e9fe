"""What changed between two results."""

import dataclasses
import json
import math
import re

import pytest

from experiments.harness import Claim, reported
from experiments.harness.command_line import main
from experiments.harness.compare import Difference

EQUAL = Claim("slope", "theory", 1.0, 1.02, kind="statistical", tolerance=0.1)
SHARE = Claim("rate", "theory", 20.0, 20.5, kind="statistical", tolerance=0.05, relative=True)
BOUND = Claim("error", "promise", 2.5, 2.1, kind="exact", relation="<=")
TIME = reported("time", "aim", 1.2, aim=1.0)


@pytest.mark.parametrize(
    ("claim", "fields", "change"),
    [
        (EQUAL, {}, None),
        (EQUAL, {"measured": 0.95}, None),
        (EQUAL, {"measured": 0.91}, "measured"),
        (EQUAL, {"measured": 1.2}, "verdict"),
        (EQUAL, {"measured": math.nan}, "verdict"),
        (EQUAL, {"expected": 1.05}, None),
        (EQUAL, {"expected": 1.11}, "expected"),
        (SHARE, {"measured": 19.6}, None),
        (SHARE, {"measured": 19.4}, "measured"),
        (BOUND, {"measured": 2.4}, None),
        (BOUND, {"measured": 2.6}, "verdict"),
        (BOUND, {"expected": 2.2}, "expected"),
        (BOUND, {"relation": ">=", "expected": 2.0}, "expected"),
        (TIME, {"measured": 9.0}, None),
        (TIME, {"measured": 0.9}, "verdict"),
        (TIME, {"expected": 1.1}, None),
    ],
)
def test_what_counts_as_a_change(claim, fields, change):
    after = dataclasses.replace(claim, **fields)
    difference = Difference(claim.name, claim, after)
    assert difference.change == change
    assert difference.is_same == (change is None and "measured" not in fields)


def test_nan_is_the_same_as_nan():
    lost = dataclasses.replace(EQUAL, measured=math.nan)
    assert Difference("slope", lost, lost).is_same


@pytest.fixture
def store(tmp_path):
    """Writes a finished run without a figure into a folder of results; returns the run's folder."""

    def write(results, *claims, name="toy", **fields):
        folder = tmp_path / results / name / f"{fields.get('preset', 'quick')}-seed0"
        folder.mkdir(parents=True)
        record = {
            "experiment": name,
            "summary": "A <toy>.",
            "preset": "quick",
            "seed": 0,
            "config": {"width": 8},
            "command": ["python"],
            "seconds": 1.0,
            "utc": "2026-01-01T00:00:00+00:00",
            "commit": None,
            "dirty": None,
            "versions": {"jax": "0.10.2"},
            "backend": "cpu",
            "device_kind": "cpu",
        }
        rows = [claim.to_json() for claim in claims]
        (folder / "provenance.json").write_text(json.dumps(record | fields), "utf-8")
        (folder / "claims.json").write_text(json.dumps(rows), "utf-8")
        return folder

    return write


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """Runs the command; returns the exit status, the lines it printed, and what went wrong."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        status = main(["compare", *line.split()])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    return run


def test_results_that_agree(store, compare):
    store("one", EQUAL, BOUND, TIME)
    store("other", dataclasses.replace(EQUAL, measured=1.01), BOUND, TIME)
    status, lines, _ = compare("one other")
    assert status == 0
    assert lines == ["3 claims of 1 runs: 0 changed beyond tolerance, 1 within it, 2 are the same"]


def test_results_that_differ(store, compare):
    worse = dataclasses.replace(BOUND, measured=2.75)
    store("one", BOUND, EQUAL, SHARE)
    store("one", name="old")
    store("other", worse, EQUAL, TIME, config={"width": 16})
    store("other", name="toy", preset="paper")
    status, lines, _ = compare("one other --html pages/page.html")
    assert status == 1
    assert lines == [
        "toy (quick)",
        "  made with other --width: 8 -> 16",
        "  verdict  error: 2.1 holds -> 2.75 fails",
        "  missing  rate: 20.5 holds -> not there",
        "  new      time: not there -> 1.2 reported",
        "only in the first: old (quick)",
        "only in the second: toy (paper)",
        "4 claims of 1 runs: 3 changed beyond tolerance, 0 within it, 1 are the same",
        "page: pages/page.html",
    ]


def test_the_page_is_whole(store, compare, tmp_path):
    first = store("one", EQUAL)
    second = store("other", dataclasses.replace(EQUAL, measured=2.0))
    for path in (first / "figure.png", first / "details.png", second / "details.png"):
        path.write_bytes(b"")
    assert compare("one other --html pages/page.html")[0] == 1
    text = (tmp_path / "pages" / "page.html").read_text("utf-8")
    assert 'src="../one/toy/quick-seed0/figure.png"' in text
    assert 'alt="A &lt;toy&gt;. The first run' in text
    details = ["../one/toy/quick-seed0/details.png", "../other/toy/quick-seed0/details.png"]
    assert re.findall(r'src="([^"]*details.png)"', text) == details
    assert text.count("<img") == 3
    assert '<span class="fails">verdict</span>' in text
    for tag in ("details", "table", "tr", "td", "div", "dl"):
        assert text.count(f"<{tag}>") + text.count(f"<{tag} ") == text.count(f"</{tag}>")


def test_two_runs_by_their_folders(store, compare):
    store("one", EQUAL)
    store("other", EQUAL, preset="paper")
    assert compare("one/toy/quick-seed0 other/toy/paper-seed0")[0] == 0


def test_where_the_worst_was_found_is_no_other_claim(store, compare):
    def found(where, *, of="ulp"):
        return dataclasses.replace(BOUND, name=f"{of} ({where})")

    store("one", found("sigmoid"), found("a", of="twin"), found("b", of="twin"))
    store("other", found("silu"), found("a", of="twin"), found("b", of="twin"))
    assert compare("one other")[0] == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("one", "Missing"),
        ("one nothing", "there is no folder nothing"),
        ("one empty", "empty holds no finished run, nor is it one"),
        ("one far", "have no experiment at the same preset in common"),
        ("one/toy/quick-seed0 far/far/quick-seed0", "is of toy"),
        ("one broken", "claims.json is damaged or missing"),
    ],
)
def test_what_cannot_be_compared(store, compare, tmp_path, line, message):
    store("one", EQUAL)
    store("far", EQUAL, name="far")
    (store("broken", EQUAL) / "claims.json").write_text("[{}]", "utf-8")
    (tmp_path / "empty").mkdir()
    status, _, errors = compare(line)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors
