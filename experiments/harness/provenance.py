"""Where a result comes from."""

import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "xarray")


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None  # not a checkout, or no git
    return answer.stdout.strip()


def commit() -> str | None:
    """The commit of the checkout, if it is one."""
    return _git("rev-parse", "HEAD")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result may depend on."""
    return {"python": platform.python_version()} | {
        package: importlib.metadata.version(package) for package in _PACKAGES
    }


def provenance() -> dict[str, Any]:
    """The commit, versions, device and settings under which the process computes."""
    status = _git("status", "--porcelain")
    device = jax.devices()[0]
    config: Any = jax.config
    return {
        "commit": commit(),
        "dirty": None if status is None else bool(status),
        "versions": versions(),
        "backend": jax.default_backend(),
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "machine": platform.machine(),
        "x64": bool(config.jax_enable_x64),
        "matmul_precision": config.jax_default_matmul_precision,
        "utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
