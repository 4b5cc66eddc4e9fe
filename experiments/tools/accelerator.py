"""Accuracy, speed and gradient_depth on a GPU or TPU, in one call of bounded time.

    python -m experiments.tools.accelerator [--minutes 9.5] [--preset paper]

or `make accelerator`.

An accelerator is often lent for minutes. Each experiment runs as `python -m experiments run` would
run it, one after the other, until the time is over: finished points are kept, and the same call
goes on from there. `accuracy` waits for mpmath most of the time: except on a TPU, it is measured in
shards by as many processes as there are processors, and merged. The others have the machine for
themselves. What is finished is gathered in `results/accelerator.md`: tables and claims
beside the device, the versions and the time they took. `make publish` takes accuracy's into
docs/accuracy.md.
"""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from experiments.harness import storage
from experiments.harness.flags import parsed
from experiments.harness.program import carried_out
from experiments.harness.stored import newest
from experiments.harness.usage import UsageError

# Speed first: it is what only the device can tell.
EXPERIMENTS = ("speed", "gradient_depth", "accuracy")
_SHARED = ("accuracy",)
_SECONDS_TO_SAVE = 10.0  # an interrupted run needs less to end

Command = list[str]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run, where, and for how long."""

    minutes: float = 9.5
    """Minutes after which the running experiment is interrupted."""
    preset: Literal["quick", "paper"] = "paper"
    """The size of the experiments."""
    device: Literal["cpu", "gpu", "tpu"] = "gpu"
    """Where to compute."""
    results: Path = Path("results")
    """Folder that results go to."""


def steps(name: str, options: Options, processors: int) -> list[list[Command]]:
    """What runs one experiment, step by step: the commands of a step run side by side.

    Its claims are gathered, not obeyed.
    """

    def command(verb: str, *more: str) -> Command:
        flags = ["--preset", options.preset, "--device", options.device, "--no-strict"]
        place = ["--results", str(options.results)]
        return [sys.executable, "-m", "experiments", verb, name, *flags, *place, *more]

    if name not in _SHARED or options.device == "tpu":  # one process alone may hold a TPU
        return [[command("run")]]
    shards = [command("run", "--shard", f"{i + 1}/{processors}") for i in range(processors)]
    return [shards, [command("merge")]]


def run_within(
    experiments: Mapping[str, Sequence[Sequence[Command]]], seconds: float
) -> dict[str, str]:
    """Runs the steps of one experiment after the other until the time is over.

    Returns:
      What became of each: "finished", "interrupted", "not begun", or "failed with status N".
    """
    end = time.monotonic() + seconds - _SECONDS_TO_SAVE
    found = {}
    for name, its_steps in experiments.items():
        found[name] = "not begun"
        for commands in its_steps:
            if time.monotonic() < end:
                found[name] = _run_step(commands, end)
            elif found[name] == "finished":
                found[name] = "interrupted"  # between two steps
            if found[name] != "finished":
                break
        print(f"{name}: {found[name]}", flush=True)
    return found


def _run_step(commands: Sequence[Command], end: float) -> str:
    # jax takes three quarters of a GPU's memory for the first process otherwise.
    alone = len(commands) == 1
    environment = None if alone else {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    processes = [subprocess.Popen(command, env=environment) for command in commands]
    try:
        failed = [s for p in processes if (s := p.wait(max(0.0, end - time.monotonic())))]
        return f"failed with status {failed[0]}" if failed else "finished"
    except subprocess.TimeoutExpired:
        for process in processes:
            process.terminate()  # points are saved as they finish: nothing is lost
        for process in processes:
            process.wait()
        return "interrupted"


def gathered(results: Path, preset: str, device: str) -> str:
    """The tables and claims of what is finished on a device, in Markdown."""
    parts = ["# On an accelerator"]
    runs = newest(results, device)
    for name in EXPERIMENTS:
        run = next((run for run in runs.get(name, ()) if run.preset == preset), None)
        if run is None:
            continue
        record = run.record
        versions = ", ".join(f"{what} {which}" for what, which in record["versions"].items())
        parts.append(
            f"## {name}\n\n{record['device_kind']} ({record['backend']}), {versions}; preset "
            f"{preset}, {record['seconds']} s, {record['utc']}, commit {record['commit']}"
        )
        table = run.file("table.md")
        if table is not None:
            parts.append(table.read_text("utf-8").strip())
        lines = [f"| {c.name} | {c.measured} | {c.verdict} |" for c in run.claims or ()]
        parts.append("\n".join(["| claim | measured | verdict |", "|---|---|---|", *lines]))
    return "\n\n".join(parts) + "\n"


def main(options: Options) -> int:
    """Runs, gathers and tells; 0 if all is finished, else 1."""
    if options.minutes <= 0:
        raise UsageError(f"--minutes must be positive, got {options.minutes}")
    processors = os.cpu_count() or 1
    found = run_within(
        {name: steps(name, options, processors) for name in EXPERIMENTS}, 60 * options.minutes
    )
    storage.make_folder(options.results)
    page = options.results / "accelerator.md"
    storage.write_bytes(page, gathered(options.results, options.preset, options.device).encode())
    print(page)
    if all(state == "finished" for state in found.values()):
        return 0
    print("not everything is finished; the same command goes on from the last point")
    return 1


def _options(argv: Sequence[str]) -> Options:
    return parsed(
        Options, argv, prog="python -m experiments.tools.accelerator", description=__doc__
    )


if __name__ == "__main__":
    sys.exit(carried_out(lambda: main(_options(sys.argv[1:]))))
