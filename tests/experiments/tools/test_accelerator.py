"""One call of bounded time: what is finished is gathered, what is not goes on later."""

import sys
import types

from experiments.harness import experiment
from experiments.harness.runner import Run, run
from experiments.tools import accelerator


def python(code):
    return [sys.executable, "-c", code]


def test_the_time_is_kept_and_every_fate_is_told(monkeypatch):
    # The clock before all, and before each: the third has a second left, the last has none.
    clock = iter([0.0, 0.0, 0.0, 989.0, 990.0])
    monkeypatch.setattr(accelerator, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    found = accelerator.run_within(
        [
            ("quick", python("")),
            ("broken", python("import sys; sys.exit(2)")),
            ("long", python("import time; time.sleep(1e6)")),
            ("last", python("")),
        ],
        1000.0,
    )
    assert found == {
        "quick": "finished",
        "broken": "failed with status 2",
        "long": "interrupted",
        "last": "not begun",
    }


def test_the_commands_are_those_of_the_command_line():
    options = accelerator.Options(preset="quick", device="cpu")
    for name in accelerator.EXPERIMENTS:
        assert name in experiment.names("experiments")
        arguments = accelerator.command(name, options)
        assert arguments[1:5] == ["-m", "experiments", "run", name]
        assert {"--preset", "quick", "--device", "cpu"} <= set(arguments)


def test_tables_and_claims_are_gathered_with_where_they_come_from(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "EXPERIMENTS", ("squares", "not_run"))
    run(Run(squares, squares.Config(), "paper", 0, tmp_path))
    page = accelerator.gathered(tmp_path, "paper")
    assert "## squares" in page
    assert "not_run" not in page
    assert "(cpu), python" in page
    assert "| number | square |" in page
    assert "| 3 squared <b> | 9.0 | holds |" in page
    assert "squares" not in accelerator.gathered(tmp_path, "quick")
