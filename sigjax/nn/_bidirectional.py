"""Two recurrences, one from each end."""

from typing import Any

import jax
from flax import nnx
from jax.typing import ArrayLike

from ._recurrence import Carry


class Bidirectional(nnx.Bidirectional):
    """`flax.nnx.Bidirectional` for `sigjax.nn.RNN`, with its lengths, resets and gates.

    Args:
      forward_rnn, backward_rnn: run the sequence from its first step, and from its last.
      merge_fn: of the outputs of both; puts them side by side unless given.
      time_major, return_carry: of both recurrences.
      rngs: for first states that are drawn.

    Example:
      >>> import jax, sigjax.nn as snn
      >>> from flax import nnx
      >>> rnns = [snn.RNN(snn.GRUCell(3, 4, rngs=nnx.Rngs(seed))) for seed in range(2)]
      >>> Bidirectional(*rnns)(jax.numpy.ones((2, 5, 3))).shape
      (2, 5, 8)

    References:
      Schuster & Paliwal 1997, IEEE Transactions on Signal Processing 45(11):2673-2681.
    """

    def __call__(
        self,
        inputs: ArrayLike,
        *,
        initial_carry: tuple[Carry, Carry] | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        seq_lengths: ArrayLike | None = None,
        resets: ArrayLike | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        return_gates: bool = False,
    ) -> Any:
        """Runs both recurrences.

        Args:
          inputs: `[..., time, features]`, or `[time, ..., features]` if time-major.
          initial_carry: the first states, forward and backward.
          rngs: for first states that are drawn.
          seq_lengths, resets: as for `RNN`; nothing passes a reset in either direction.
          return_carry, time_major: override what the constructor was told.
          reverse, keep_order: without effect, as in Flax; both directions are run, and the outputs
            have the order of the inputs.
          return_gates: whether to return the gates of every step.

        Returns:
          The merged outputs; before them the last states, forward and backward, if asked for, and
          after them the gates of both, if asked for.
        """
        del reverse, keep_order
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        stream = self.rngs if rngs is None else rngs
        stream = stream.carry if isinstance(stream, nnx.Rngs) else stream
        # Handed on only where asked for: another kind of recurrence may not know them.
        options: dict[str, Any] = {} if resets is None else {"resets": resets}
        if return_gates:
            options["return_gates"] = True

        def run(rnn: Any, carry: Carry | None, **direction: bool) -> Any:
            return rnn(
                inputs,
                initial_carry=carry,
                rngs=stream,
                seq_lengths=seq_lengths,
                return_carry=True,
                time_major=time_major,
                **direction,
                **options,
            )

        first = (None, None) if initial_carry is None else initial_carry
        forward = run(self.forward_rnn, first[0], reverse=False)
        backward = run(self.backward_rnn, first[1], reverse=True, keep_order=True)
        carries, outputs, *gates = zip(forward, backward, strict=True)
        merged = jax.tree.map(self.merge_fn, *outputs)
        found = (carries,) if return_carry else ()
        found += (merged, *gates)
        return found if len(found) > 1 else merged
