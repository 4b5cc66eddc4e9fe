"""Which devices compute, and how seeds are spread over them."""

import jax
from jax import Array
from jax.sharding import NamedSharding, PartitionSpec

from .refusal import Refusal

_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def choose(device: str | None) -> None:
    """Makes JAX compute on "cpu", "gpu" or "tpu"; must come before anything is computed.

    Raises:
      Refusal: if JAX finds no such device.
    """
    if device is not None:
        jax.config.update("jax_platforms", _PLATFORMS[device])
    try:
        jax.devices()
    except RuntimeError as error:
        raise Refusal(f"--device {device}: JAX finds no such device here ({error})") from error


def shard_seeds(keys: Array) -> Array:
    """Spreads the leading axis over all devices, if they divide it."""
    count = jax.device_count()
    if count == 1 or keys.shape[0] % count:
        return keys
    mesh = jax.make_mesh((count,), ("seed",))
    return jax.device_put(keys, NamedSharding(mesh, PartitionSpec("seed")))
