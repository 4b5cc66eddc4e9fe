"""An experiment package that is as small as one can be, on disk and as a module."""

import importlib
import sys
import textwrap

import matplotlib
import pytest

matplotlib.use("Agg")

SOURCE = '''
"""A toy: squares of a few numbers.

It must show that 3 squared is 9.
"""

import dataclasses
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from experiments.harness import Claim, Settings, sweep

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
        Claim("3 squared <b>", "school & home", dataset.attrs["expected"], three, 0.0, "exact"),
        Claim("not a number", "nobody", float("nan"), float("inf"), 0.0, "reported"),
    ]


def plot(dataset):
    figure, axis = plt.subplots()
    axis.plot(dataset["square"].values[:, 0])
    return figure


def table(dataset):
    return "| number | square |"
'''


@pytest.fixture(autouse=True, scope="session")
def one_device():
    """Experiments as most people run them: the suite's four devices compile everything for four.

    What several devices give is held to what one gives by test_spread.py and test_processes.py.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(importlib.import_module("experiments.harness.spread"), "_devices", lambda: 1)
    yield
    patch.undo()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package with the experiment `squares` and a helper that is none."""
    name = f"toy_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("", "utf-8")
    (folder / "squares.py").write_text(textwrap.dedent(SOURCE).lstrip(), "utf-8")
    (folder / "helper.py").write_text("def measure(): ...\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def squares(package):
    """The experiment as a module."""
    return importlib.import_module(f"{package}.squares")
