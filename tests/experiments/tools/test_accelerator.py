"""One call of bounded time: what is finished is gathered, what is not goes on later."""

import sys
import types

from experiments.harness import experiment
from experiments.harness.runner import Run, run
from experiments.harness.sweep import Share
from experiments.tools import accelerator


def python(code):
    return [sys.executable, "-c", code]


def at_times(monkeypatch, *readings):
    clock = types.SimpleNamespace(monotonic=iter(readings).__next__)
    monkeypatch.setattr(accelerator, "time", clock)


FAILS = python("import sys; sys.exit(2)")
FOR_EVER = python("import time; time.sleep(1e6)")


def test_the_time_is_kept_and_every_fate_is_told(monkeypatch):
    # The clock before all; before a step, and before each of its processes is waited for. The third
    # has a second left, the last has none.
    at_times(monkeypatch, 0.0, 0.0, 0.0, 0.0, 0.0, 989.0, 989.0, 990.0)
    found = accelerator.run_within(
        {
            "quick": [[python("")]],
            "broken": [[FAILS], [FOR_EVER]],
            "long": [[FOR_EVER]],
            "last": [[python("")]],
        },
        1000.0,
    )
    assert found == {
        "quick": "finished",
        "broken": "failed with status 2",
        "long": "interrupted",
        "last": "not begun",
    }


def test_one_failure_or_one_that_takes_too_long_decides_of_a_step(monkeypatch):
    at_times(monkeypatch, 0.0, *(2 * [0.0]), *(3 * [0.0]), 989.0, 989.0, 989.0, *(2 * [0.0]), 990.0)
    found = accelerator.run_within(
        {
            "merged": [[python("")]],
            "broken": [[python(""), FAILS], [FOR_EVER]],
            "long": [[python(""), FOR_EVER], [python("")]],
            "between": [[python("")], [python("")]],
        },
        1000.0,
    )
    assert found == {
        "merged": "finished",
        "broken": "failed with status 2",
        "long": "interrupted",
        "between": "interrupted",
    }


def test_the_commands_are_those_of_the_command_line():
    options = accelerator.Options(preset="quick", device="gpu")
    for name in accelerator.EXPERIMENTS:
        assert name in experiment.names("experiments")
        for commands in accelerator.steps(name, options, processors=4):
            for arguments in commands:
                assert arguments[1:3] == ["-m", "experiments"]
                assert arguments[4] == name
                assert {"--preset", "quick", "--device", "gpu"} <= set(arguments)
    (timed,) = accelerator.steps("speed", options, processors=4)
    assert len(timed) == 1


def test_what_waits_for_mpmath_is_shared_out_and_merged():
    options = accelerator.Options(device="gpu")
    shards, (merge,) = accelerator.steps("accuracy", options, processors=4)
    shares = {Share.parse(each[each.index("--shard") + 1]) for each in shards}
    assert shares == {Share(i, 4) for i in range(1, 5)}
    assert merge[3] == "merge"
    # One process alone may hold a TPU.
    assert accelerator.steps("accuracy", accelerator.Options(device="tpu"), 4)[0][0][3] == "run"


def test_tables_and_claims_are_gathered_with_where_they_come_from(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "EXPERIMENTS", ("squares", "not_run"))
    run(Run(squares, squares.Config(), "paper", 0, tmp_path))
    page = accelerator.gathered(tmp_path, "paper", "cpu")
    assert "## squares" in page
    assert "not_run" not in page
    assert "(cpu), python" in page
    assert "| number | square |" in page
    assert "| 3 squared <b> | 9.0 | holds |" in page
    assert "squares" not in accelerator.gathered(tmp_path, "quick", "cpu")
    assert "squares" not in accelerator.gathered(tmp_path, "paper", "gpu")
