"""What is said of a sweep's way where no terminal is."""

import types

import pytest

from experiments.harness import progress


@pytest.fixture
def said(monkeypatch, capsys):
    """Goes through points that take so many seconds each by a clock of its own; what was said."""

    def go(seconds):
        clock = [0.0]
        monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
        for took in progress.progress(seconds, len(seconds), "squares"):
            clock[0] += took
        return capsys.readouterr().err.splitlines()

    return go


def test_time_left_is_that_of_the_points_that_were_measured(said):
    # Six points are there already, four take ten seconds each.
    assert said([0.01] * 6 + [10.0] * 4) == [
        "squares: 7/10 points, 10 s, about 30 s left",
        "squares: 8/10 points, 20 s, about 20 s left",
        "squares: 9/10 points, 30 s, about 10 s left",
        "squares: 10/10 points, 40 s",
    ]


def test_nothing_is_said_of_what_is_soon_over(said):
    assert said([0.5] * 8) == []


def test_lines_are_seconds_apart(said):
    assert len(said([0.2] * 1000)) == 40
