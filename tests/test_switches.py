"""Every public name under JAX's switches, which users set: the same numbers, and no complaint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.proof
def test_public_names_under_every_switch():
    """In a process of its own: switches, caches and frozen garbage are the whole process's."""
    program = Path(__file__).with_name("switches.py")
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ
        | {
            "PYTHONPATH": str(program.parents[1]),
            # Compiling is most of the time.
            "XLA_FLAGS": "--xla_backend_optimization_level=0"
            " --xla_llvm_disable_expensive_passes=true",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "cases" in done.stderr
    assert done.stdout == ""
