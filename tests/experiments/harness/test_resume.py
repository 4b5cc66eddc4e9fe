"""Killed at random moments and started again, a run ends with the same bytes of data."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]


def start(package, tmp_path, results):
    script = (
        "import sys; from experiments.harness.command_line import main; "
        f"sys.exit(main(sys.argv[1:], package={package!r}))"
    )
    arguments = ["run", "squares", "--count", "8", "--pause", "0.1", "--results", str(results)]
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "MPLBACKEND": "Agg",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished_points(results):
    return len(list(results.glob("squares/*/points/*.nc")))


def test_sigkill_at_random_moments(package, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    undisturbed = start(package, tmp_path, whole)
    generator = random.Random(0)
    kills = 0
    for goal in (1, 3, 6):  # points to be finished before the kill, and a random while more
        process = start(package, tmp_path, broken)
        deadline = time.monotonic() + 60
        while finished_points(broken) < goal and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert kills == 3
    last = start(package, tmp_path, broken)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    undisturbed.communicate(timeout=120)
    assert undisturbed.returncode == 0
    (expected,), (found,) = (list(r.glob("squares/*/data.nc")) for r in (whole, broken))
    assert found.read_bytes() == expected.read_bytes()
    assert not (found.parent / "points").exists()
