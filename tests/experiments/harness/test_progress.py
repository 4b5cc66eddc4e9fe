"""What is said of a sweep's way where no terminal is."""

import types

import pytest

from experiments.harness import progress


@pytest.fixture
def said(monkeypatch, capsys):
    """Goes through points that take so many seconds each by a clock of its own; what was said."""

    def go(seconds, cost=None):
        clock = [0.0]
        monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
        for took in progress.progress(seconds, "squares", cost):
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


def test_points_that_cost_more_are_expected_to_take_longer(said):
    first, *_ = said([10.0, 20.0, 40.0], cost=lambda seconds: seconds / 5)
    assert first == "squares: 1/3 points, 10 s, about 60 s left"


def test_a_first_point_that_also_compiles_says_nothing_of_the_others(said):
    lines = said([30.0, 6.0, 6.0, 6.0, 6.0])
    assert lines[0] == "squares: 1/5 points, 30 s, about 120 s left"
    assert lines[1] == "squares: 2/5 points, 36 s, about 18 s left"
