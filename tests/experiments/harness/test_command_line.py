"""What a user types, and what comes back."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness import experiment
from experiments.harness.command_line import main

ROOT = Path(__file__).parents[3]


@pytest.fixture
def type_in(package, tmp_path, monkeypatch, capsys):
    """Runs a command; returns the exit status, what it printed, and what on standard error."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        try:
            status = main(line.split(), package=package)
        except SystemExit as stop:  # --help
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_list_names_each_experiment_and_no_helper(type_in):
    status, out, _ = type_in("list")
    assert status == 0
    assert out.splitlines() == [
        "numbers    quick   paper",
        "  squares    2 s   1 min  A toy: squares of a few numbers.",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rum squares", "unknown command 'rum'; did you mean run?"),
        ("run square", "unknown experiment 'square'; did you mean squares?"),
        ("run nothing", "unknown experiment 'nothing'"),
        ("run", "needs the name of an experiment. There are: squares"),
        ("list all", "list takes no arguments, got all"),
        ("report", "there is no folder results"),
        ("run squares --results squares.txt", "cannot make the folder squares.txt"),
    ],
)
def test_a_request_that_cannot_be_met(type_in, line, message):
    Path("squares.txt").write_text("a file in the way", "utf-8")
    status, _, errors = type_in(line)
    assert status == 2
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("columns", ["40", "200"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--coun 3", "Unrecognized options: --coun, 3; did you mean --count?"),
        ("--count three", "--count: invalid literal for int() with base 10: 'three'"),
        (
            "--preset small",
            "'small' for argument '--preset'. Expected one of ('quick', 'paper', 'full')",
        ),
        ("--device abacus", "'abacus' for argument '--device'"),
        ("--count", "Missing value for argument '--count'"),
    ],
)
def test_a_bad_flag_is_named_in_one_line(type_in, monkeypatch, flags, message, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, out, errors = type_in(f"run squares {flags}")
    assert status == 2
    assert out == ""
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--count 0", "--count must be at least 1, got 0"),
        ("--pause -0.1", "--pause must be at least 0, got -0.1"),
        ("--expected nan", "--expected must be at least 0, got nan"),
        ("--seed -1", "--seed must be from 0 to 2^64 - 1, got -1"),
        ("--seed 18446744073709551616", "--seed must be from 0 to 2^64 - 1, got 1844674407370955"),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_before_anything_is_made(type_in, flags, message):
    status, _, errors = type_in(f"run squares {flags}")
    assert status == 2
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert not Path("results").exists()


def test_help_explains_every_field(type_in):
    status, out, _ = type_in("run squares --help")
    assert status == 0
    for text in ("--count", "How many numbers.", "--preset", "--seed", "It must show that 3"):
        assert text in out


def test_no_command_prints_the_usage(type_in):
    assert type_in("")[0] == 2
    status, out, _ = type_in("--help")
    assert status == 0
    assert "figures" in out


def test_run_prints_table_and_claims(type_in):
    status, out, _ = type_in("run squares")
    assert status == 0
    assert "| number | square |" in out
    assert "ok    3 squared <b>: 9 (== 9" in out


def test_a_failing_claim_decides_the_exit_status(type_in):
    status, out, _ = type_in("run squares --expected 10")
    assert status == 1
    assert "FAIL  3 squared" in out
    assert type_in("run squares --expected 10 --no-strict")[0] == 0


@pytest.mark.parametrize("flag", ["--preset paper", "--preset=paper"])
def test_the_preset_gives_the_other_flags_their_defaults(type_in, squares, flag):
    assert type_in(f"run squares {flag}")[0] == 0
    assert list(range(6)) == squares.CALLS
    squares.CALLS.clear()
    assert type_in(f"run squares {flag} --count 5")[0] == 0
    assert list(range(5)) == squares.CALLS


def test_full_is_there_where_paper_leaves_something_out(type_in, squares, monkeypatch):
    status, _, errors = type_in("run squares --preset full")
    assert status == 2
    assert "error: squares has no preset full: paper leaves nothing out" in errors
    assert type_in("figures --preset full")[0] == 0
    assert list(Path("results/squares").glob("paper-*/figure.png"))
    full = classmethod(lambda cls: cls(count=7))
    monkeypatch.setattr(squares.Config, "full", full, raising=False)
    squares.CALLS.clear()
    assert type_in("run squares --preset full")[0] == 0
    assert list(range(7)) == squares.CALLS
    assert list(Path("results/squares").glob("full-*/figure.png"))


@pytest.mark.parametrize("name", ["saturation", "mean_field", "isometry", "gates_low_precision"])
def test_full_presets_are_larger_than_the_papers(name):
    theme = next(t for t, names in experiment.themes("experiments").items() if name in names)
    config = importlib.import_module(f"experiments.{theme}.{name}").Config
    full, paper = (dataclasses.asdict(make()) for make in (config.full, config.paper))
    changed = {field for field in full if full[field] != paper[field]}
    assert changed
    for field in changed:
        size = len if isinstance(full[field], tuple) else float
        assert size(full[field]) > size(paper[field])


def test_figures_runs_all_and_writes_the_report(type_in):
    status, out, _ = type_in("figures")
    assert status == 0
    assert "claims: 1 holds, 0 fail" in out
    assert Path("results/index.html").exists()


def test_one_broken_experiment_does_not_cost_the_others(type_in, add_experiment):
    add_experiment("broken", "def measure(config, key):\n    1 / 0\n")
    status, out, errors = type_in("figures")
    assert status == 2
    assert "ZeroDivisionError" in errors
    assert "these experiments broke off: broken" in errors
    assert "claims: 1 hold" in out


def test_a_device_that_is_not_there():
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "run", "certify", "--device", "tpu"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert "error: --device tpu: JAX finds no such device here" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_experiment_of_the_project_is_listed_where_little_is_as_usual(tmp_path):
    """Standard error closed, no locale, home, terminal or colours, and another working folder."""
    usual = {name: value for name, value in os.environ.items() if name not in ("HOME", "LANG")}
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    plain = {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "40", "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m experiments list 2>&-'],
        cwd=tmp_path,
        env=usual | poor | plain | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="ascii",
    )
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert names == experiment.names("experiments")


@pytest.mark.parametrize(
    ("text", "quick", "paper"),
    [
        ("Time on 2 CPU cores: quick 85 s, paper 15 min.", (85, "s"), (15, "min")),
        ("Time: quick (every 8,191st number) 15 s; paper 45 minutes", (15, "s"), (45, "min")),
        ("run --preset paper\nTime: It is quick. paper 20 steps in 1 hour", (0, ""), (1, "h")),
        ("Quick 3 s. Time of others: quick 5 s", (0, ""), (0, "")),
        (None, (0, ""), (0, "")),
    ],
)
def test_the_docstring_says_how_long_it_takes(text, quick, paper):
    assert experiment.stated_time(text, "quick") == quick
    assert experiment.stated_time(text, "paper") == paper


def test_every_experiment_of_the_project_says_how_long_it_takes():
    for name in experiment.names("experiments"):
        text = experiment.docstring("experiments", name)
        assert experiment.stated_time(text, "quick")[1] == "s", name
        assert experiment.stated_time(text, "paper")[0] > 0, name


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["FAIL", "TIMED"])
def test_figures_side_by_side_are_those_of_one_at_a_time(type_in, add_experiment, kind):
    more = {"TIMED": "TIMED = True\n", "FAIL": "def measure(config, key):\n    1 / 0\n"}[kind]
    add_experiment("cubes", more)
    status, out, errors = type_in("figures --jobs 2 --results side")
    assert "squares: side/squares" in out
    if kind == "FAIL":
        assert status == 2
        assert "ZeroDivisionError" in errors
        assert "these experiments broke off: cubes" in errors
        assert "claims: 1 hold" in out
        return
    assert status == 0
    assert "claims: 2 hold" in out
    assert type_in("figures --jobs 1 --results one")[0] == 0
    for path in Path("one").rglob("data.nc"):
        assert path.read_bytes() == Path("side", path.relative_to("one")).read_bytes()


def test_figures_need_a_positive_number_of_jobs(type_in):
    status, _, errors = type_in("figures --jobs 0")
    assert status == 2
    assert "--jobs must be at least 1, got 0" in errors
