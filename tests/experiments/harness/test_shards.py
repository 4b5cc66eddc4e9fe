"""Shards of a sweep, measured apart and merged, are the sweep."""

import pytest

from experiments.harness.command_line import main
from experiments.harness.locks import locked
from experiments.harness.sweep import EVERYTHING, Share
from experiments.harness.usage import UsageError


@pytest.fixture
def command(package, tmp_path):
    def run(line, results="results"):
        return main([*line.split(), "--results", str(tmp_path / results)], package=package)

    return run


def data(tmp_path, results):
    (path,) = (tmp_path / results).glob("squares/*/data.nc")
    return path.read_bytes()


def test_shards_and_merge_give_the_bytes_of_one_run(command, squares, tmp_path, capsys):
    assert command("run squares", "whole") == 0
    squares.CALLS.clear()
    for shard in ("2/3", "3/3", "1/3"):
        assert command(f"run squares --shard {shard}") == 0
    assert sorted(squares.CALLS) == [0, 1, 2, 3]
    assert "all points are there: merge" in capsys.readouterr().out
    assert command("merge squares") == 0
    assert sorted(squares.CALLS) == [0, 1, 2, 3]  # nothing was measured twice
    assert data(tmp_path, "results") == data(tmp_path, "whole")
    assert command("run squares --shard 1/3") == 0
    assert "measured before" in capsys.readouterr().out


def test_merge_refuses_what_is_incomplete_and_loses_nothing(command, squares, tmp_path, capsys):
    assert command("run squares --shard 1/2") == 0
    assert "shard 1/2 has its points; 2 of 4 are the others'" in capsys.readouterr().out
    assert command("merge squares") == 2
    assert "2 of 4 points of squares are missing" in capsys.readouterr().err
    assert not list((tmp_path / "results").glob("squares/*/data.nc"))
    assert command("run squares --shard 2/2") == 0
    assert squares.CALLS == [0, 2, 1, 3]
    assert command("merge squares") == 0


def test_a_plain_run_takes_over_what_shards_left(command, squares):
    assert command("run squares --shard 2/4") == 0
    assert command("run squares") == 0
    assert squares.CALLS == [1, 0, 2, 3]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "2", "a/b", "1/0", "-1/2"])
def test_a_shard_that_makes_no_sense(command, shard, capsys):
    assert command(f"run squares --shard={shard}") == 2
    assert f"--shard must be I/N with 1 <= I <= N, such as 2/8, not '{shard}'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("line", ["merge squares --shard 1/2", "run squares --shard 1/2 --force"])
def test_flags_that_contradict(command, line, capsys):
    assert command(line) == 2
    assert "--shard goes with neither merge nor --force" in capsys.readouterr().err


def test_merge_needs_a_name(command, capsys):
    assert command("merge") == 2
    assert "merge needs the name of an experiment" in capsys.readouterr().err


def test_an_experiment_without_points_is_left_to_merge(command, squares, package, capsys):
    del squares.sweep
    assert command("run squares --shard 1/2") == 0
    assert "has no points to share out" in capsys.readouterr().out


def test_shards_work_side_by_side_but_not_with_themselves(tmp_path):
    with locked(tmp_path, Share(1, 3)), locked(tmp_path, Share(2, 3)):
        with pytest.raises(UsageError, match="another run is at work"):
            locked(tmp_path, Share(2, 3)).__enter__()
        with pytest.raises(UsageError, match="another run is at work"):
            locked(tmp_path, EVERYTHING).__enter__()
    with locked(tmp_path, EVERYTHING):
        pass


def test_what_another_shard_is_writing_is_left_alone(command, tmp_path):
    assert command("run squares --shard 1/2") == 0
    (points,) = (tmp_path / "results").glob("squares/*/points")
    writing = points / ".writing-by-another"
    writing.touch()
    assert command("run squares --shard 2/2") == 0
    assert writing.exists()
    assert command("merge squares") == 0
