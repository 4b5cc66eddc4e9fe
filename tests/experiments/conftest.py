"""An experiment package that is as small as one can be, on disk and as a module."""

import importlib
import sys
import textwrap
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import pytest

matplotlib.use("Agg")

SOURCE = '''
"""A toy: squares of a few numbers.

Time on 2 CPU cores: quick 2 s, paper 1 minute. It must show that 3 squared is 9.
"""

import dataclasses
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from experiments.harness import Claim, Settings, reported, sweep

CALLS = []


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """What is squared."""

    count: int = 4
    """How many numbers."""
    pause: float = 0.0
    """Seconds that each takes."""
    expected: float = 9.0
    """What 3 squared should be."""

    @classmethod
    def quick(cls):
        return cls()

    @classmethod
    def paper(cls):
        return cls(count=6)


def measure(config, key):
    def square(point):
        CALLS.append(point["number"])
        time.sleep(config.pause)
        if os.environ.get("SQUARES_WAIT_AT") == str(point["number"]):
            time.sleep(1e6)  # for a signal
        noise = np.random.default_rng(point["number"]).normal(size=3)
        square = np.full(3, point["number"] ** 2.0)
        return xr.Dataset({"square": ("draw", square), "noise": ("draw", noise)})

    parts = sweep([{"number": n} for n in range(config.count)], square)
    dataset = xr.concat(parts, dim="number")
    return dataset.assign_attrs(expected=config.expected)


def claims(dataset):
    three = float(dataset["square"].values[3, 0])
    return [
        Claim("3 squared <b>", "school & home", dataset.attrs["expected"], three, kind="exact"),
        reported("not a number", "nobody", float("inf")),
    ]


def plot(dataset):
    figure = plt.figure(figsize=(2, 1))  # without axes, whose ticks take long to draw
    figure.text(0.1, 0.5, " ".join(map(str, dataset["square"].values[:, 0])))
    return figure


def table(dataset):
    return "| number | square |"
'''


@pytest.fixture(autouse=True, scope="session")
def one_device():
    """Experiments as most people run them: the suite's four devices compile everything for four.

    test_over_devices.py and test_processes.py hold what several devices give to what one gives.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(
        importlib.import_module("experiments.harness.over_devices"), "_devices", lambda: 1
    )
    yield
    patch.undo()


# A theme of the toy package has whatever lies in its folder.
THEME = """
from pathlib import Path

EXPERIMENTS = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py")))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package with one theme, that has one experiment, `squares`."""
    name = f"toy_{tmp_path.name.replace('-', '_')}"
    theme = tmp_path / name / "numbers"
    theme.mkdir(parents=True)
    (tmp_path / name / "__init__.py").write_text('THEMES = ("numbers",)\n', "utf-8")
    (theme / "__init__.py").write_text(THEME, "utf-8")
    (theme / "squares.py").write_text(textwrap.dedent(SOURCE).lstrip(), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def squares(package):
    """The experiment as a module."""
    return importlib.import_module(f"{package}.numbers.squares")


@pytest.fixture
def add_experiment(squares):
    """Writes one more experiment: what `squares` is, with more source below it."""
    path = Path(squares.__file__)

    def add(name, more):
        path.with_name(f"{name}.py").write_text(f"{path.read_text('utf-8')}\n\n{more}", "utf-8")
        theme = sys.modules[squares.__name__.rpartition(".")[0]]
        theme.EXPERIMENTS = (*theme.EXPERIMENTS, name)

    return add


DETAILS = '''
def details(dataset):
    """Their <roots>.

    More of it.
    """
    figure = plt.figure(figsize=(2, 1))
    figure.text(0.1, 0.5, "the second figure")
    return figure
'''


@pytest.fixture
def detailed(package, add_experiment):
    """An experiment of the package as a module: `squares` with a second figure."""
    add_experiment("detailed", DETAILS)
    return importlib.import_module(f"{package}.numbers.detailed")


@pytest.fixture
def small_run(standard_promotion):
    """Runs an experiment and draws it; returns its claims by their names."""

    def run(experiment, config):
        dataset = experiment.measure(config, jax.random.key(0))
        claims = experiment.claims(dataset)
        assert len({claim.name for claim in claims}) == len(claims)
        figure = experiment.plot(dataset)
        assert all(a.get_xlabel() or a.figure.get_supxlabel() for a in figure.axes[:3])
        plt.close(figure)
        return {claim.name: claim for claim in claims}

    return run
