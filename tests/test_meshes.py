"""Meshes of explicit, automatic and manual axes: results, shardings and collectives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.meshes import AXES


@pytest.mark.slow
@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", AXES)
def test_functions_on_a_mesh(kind):
    """In a process of its own, which has eight devices."""
    program = Path(__file__).with_name("meshes.py")
    done = subprocess.run(
        [sys.executable, str(program), kind],
        env=os.environ
        | {
            "PYTHONPATH": str(program.parents[1]),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "cases" in done.stderr
    assert done.stdout == ""
