"""Which devices compute."""

import jax

from .usage import UsageError

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def choose(device: str | None) -> None:
    """Makes JAX compute on "cpu", "gpu" or "tpu"; must come before anything is computed.

    Raises:
      UsageError: if JAX finds no such device.
    """
    if device is not None:
        jax.config.update("jax_platforms", _PLATFORMS[device])
    try:
        jax.devices()
    except RuntimeError as error:
        raise UsageError(f"--device {device}: JAX finds no such device here ({error})") from error
