"""Many processes as one: who starts them, and who may touch the disk."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from .usage import UsageError

# Seconds without a sign of life after which a process counts as dead, and seconds that a process
# which ends waits for the others. jax's own 100 and 300 would hold a pod's nodes for nothing.
SECONDS_TO_DEATH = 20
SECONDS_TO_END = 30

_NOTHING, _CONTENT, _USAGE_ERROR = range(3)
_BLOCK = 2**16  # bytes; messages are padded to powers of two of it, so that few shapes compile


Answer = TypeVar("Answer", bound=bytes | None)


@dataclasses.dataclass(frozen=True)
class Processes:
    """How this process finds the others."""

    distributed: bool = False
    """Join the other processes of the job that SLURM, Open MPI, Kubernetes or Cloud TPU started."""
    coordinator: str | None = None
    """HOST:PORT of process 0, where nobody starts the processes for you."""
    processes: int | None = None
    """How many processes there are, with --coordinator."""
    process_id: int | None = None
    """Which of them this one is, from 0, with --coordinator."""

    def join(self) -> None:
        """Meets the other processes, if there are any; must come before anything is computed.

        Raises:
          UsageError: if they cannot be found, or the flags do not say where they are.
        """
        by_hand = (self.coordinator, self.processes, self.process_id)
        given = [value is not None for value in by_hand]
        if any(given) != all(given):
            raise UsageError(
                "--coordinator, --processes and --process-id go together: got "
                f"{self.coordinator}, {self.processes} and {self.process_id}"
            )
        if not any(given) and not self.distributed:
            return
        if all(given) and self.process_id not in range(self.processes or 0):
            raise UsageError(
                f"--process-id must be one of 0 to --processes - 1, got {self.process_id} of "
                f"{self.processes}"
            )
        try:
            jax.distributed.initialize(
                *by_hand,
                cluster_detection_method="deactivate" if any(given) else None,
                heartbeat_timeout_seconds=SECONDS_TO_DEATH,
                shutdown_timeout_seconds=SECONDS_TO_END,
            )
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"cannot join the other processes: {error}. Start each by hand with "
                "--coordinator HOST:PORT --processes N --process-id I"
            ) from error


def on_process_zero(action: Callable[[], Answer]) -> Answer:
    """Process 0 carries out an action, and every process gets what it gave.

    All that touches the disk goes through here: the processes need not share one, and none
    goes a way of its own, which would leave the others waiting.

    Raises:
      UsageError: on every process, if process 0's action raises it, or, of several processes, an
        OSError; a process that is alone gets that one itself.
    """
    if jax.process_count() == 1:
        return action()
    nothing: Any = None
    kind, content = _NOTHING, b""
    if jax.process_index() == 0:
        try:
            answer = action()
        except (UsageError, OSError) as error:
            kind, content = _USAGE_ERROR, str(error).encode(errors="backslashreplace")
        else:
            if answer is not None:
                kind, content = _CONTENT, answer
    kind, length = multihost_utils.broadcast_one_to_all(np.array([kind, len(content)], np.int32))
    if kind == _NOTHING:
        return nothing
    room = _BLOCK
    while room < length:
        room *= 2
    message = np.zeros(room, np.uint8)
    message[: len(content)] = np.frombuffer(content, np.uint8)
    told: Any = np.asarray(multihost_utils.broadcast_one_to_all(message), np.uint8)[
        :length
    ].tobytes()
    if kind == _USAGE_ERROR:
        raise UsageError(told.decode())
    return told
