"""Where a result comes from."""

import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import sigjax

_ROOT = Path(__file__).parents[2]
_SECONDS_TO_HANG = 600  # a file system that answers no more must not keep a result
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "xarray")


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=_ROOT,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=_SECONDS_TO_HANG,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # not a checkout, or no git
    return answer.stdout.strip()


def commit() -> str | None:
    """The commit of the checkout, if it is one."""
    return _git("rev-parse", "HEAD")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result may depend on."""
    return {"python": platform.python_version(), "sigjax": sigjax.__version__} | {
        package: importlib.metadata.version(package) for package in _PACKAGES
    }


def variant() -> list[str]:
    """What beside its configuration decides a result's numbers, where it is not JAX's default.

    Empty for float32 on a CPU.
    """
    config: Any = jax.config
    backend, precision = jax.default_backend(), config.jax_default_matmul_precision
    generator = config.jax_default_prng_impl
    return [
        *([] if backend == "cpu" else [backend]),
        *(["x64"] if config.jax_enable_x64 else []),
        *([] if precision is None else [f"matmul_{precision}"]),
        *([] if generator == "threefry2x32" else [generator]),
    ]


def provenance() -> dict[str, Any]:
    """The commit, versions, device and settings under which the process computes."""
    status = _git("status", "--porcelain")
    device = jax.devices()[0]
    config: Any = jax.config
    return {
        "commit": commit(),
        "dirty": None if status is None else bool(status),
        "sigjax": "checkout" if Path(sigjax.__file__).parents[1] == _ROOT else "installed",
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
