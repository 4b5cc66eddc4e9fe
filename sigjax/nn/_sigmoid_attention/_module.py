"""Multi-head sigmoid attention as a layer."""

from collections.abc import Sequence
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from ...functional._messages import must
from .._attention import Attention, AttentionOptions, Projected, over_batches
from ._dot_product import dot_product_sigmoid_attention, sigmoid_attention_weights


class SigmoidAttention(Attention):
    r"""Multi-head attention whose weights are $\sigma(q \cdot k/\sqrt d + b)$, each on its own.

    Arguments, parameters, cache and calls are those of `flax.nnx.MultiHeadAttention`, whose
    weights load as they are.

    Args:
      num_heads, in_features, qkv_features, out_features, num_kv_heads, in_kv_features: as there.
      logit_bias: $b$, a number or one per head; None for $-\log n$ with $n$ keys in sight, see
        `dot_product_sigmoid_attention`.
      train_logit_bias: whether an offset per head is added to it that starts at 0 and learns:
        the parameter `logit_offset`, `[num_heads]`.
      layer_scale: if given, outputs are multiplied by a parameter `layer_scale`, `[out_features]`,
        which is this number at first.
      rngs: for the parameters, and for dropout.
      options: the other arguments of `flax.nnx.MultiHeadAttention`, among them `normalize_qk`
        for norms of queries and keys, `dropout_rate` (with dropout, weights are held whole) and
        `decode`. 16-bit weights and sums are made in float32.

    Raises:
      ValueError: for dimensions that are not divided as they should be, or a `logit_bias` that
        is neither a number nor one for each head.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> layer = SigmoidAttention(2, 8, rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (3, 5, 8))
      >>> y, weights = layer(x, is_causal=True, return_gates=True)
      >>> y.shape, weights.shape
      ((3, 5, 8), (3, 2, 5, 5))

    References:
      Ramapuram et al. 2024, Theory, Analysis, and Best Practices for Sigmoid Self-Attention
      (arXiv:2409.04431); LayerScale: Touvron et al. 2021, ICCV 32-42.
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        num_kv_heads: int | None = None,
        in_kv_features: int | None = None,
        *,
        logit_bias: ArrayLike | Sequence[float] | None = None,
        train_logit_bias: bool = False,
        layer_scale: float | None = None,
        rngs: nnx.Rngs,
        **options: Unpack[AttentionOptions],
    ):
        super().__init__(
            num_heads, in_features, qkv_features, out_features, num_kv_heads, in_kv_features,
            attention_fn=dot_product_sigmoid_attention, rngs=rngs, **options,
        )  # fmt: skip
        self.logit_bias = None if logit_bias is None else _numbers(logit_bias, num_heads)
        self.logit_offset: nnx.Param[Array] | None = nnx.data(None)
        if train_logit_bias:
            self.logit_offset = nnx.Param(jnp.zeros((num_heads,), self.param_dtype))
        self.layer_scale: nnx.Param[Array] | None = nnx.data(None)
        if layer_scale is not None:
            self.layer_scale = nnx.Param(
                jnp.full((self.out_features,), layer_scale, self.param_dtype)
            )

    def __call__(
        self,
        inputs_q: ArrayLike,
        inputs_k: ArrayLike | None = None,
        inputs_v: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        sow_weights: bool = False,
        decode: bool | None = None,
        is_causal: bool = False,
        out_sharding: Any = None,
        qkv_sharding: Any = None,
        input_positions: ArrayLike | None = None,
        return_gates: bool = False,
    ) -> Any:
        """Attends from `inputs_q` to `inputs_k`.

        Args:
          inputs_q: `[..., T, in_features]`.
          inputs_k, inputs_v: `[..., S, in_kv_features]`; the queries' and the keys' if None.
          mask: broadcastable to `[..., num_heads, T, S]`; where False, a key is not seen.
          deterministic, rngs, sow_weights, decode, is_causal, out_sharding, qkv_sharding: as for
            `flax.nnx.MultiHeadAttention`; when decoding, `is_causal` has nothing to add.
          input_positions: nothing here takes positions; None is what Flax gives without them.
          return_gates: whether to return the weights, `[..., num_heads, T, S]`, too.

        Returns:
          `[..., T, out_features]`, and the weights before dropout if asked for.

        Raises:
          ValueError: if positions are given.
        """
        if input_positions is not None:
            raise ValueError(
                must(
                    "input_positions",
                    "be None, since nothing here uses positions",
                    "some; sigjax.nn.GatedAttention hands them on",
                    of="sigjax.nn.SigmoidAttention",
                )
            )
        given = self.project(inputs_q, inputs_k, inputs_v, mask, is_causal, decode, qkv_sharding)
        key = self.dropout_key(deterministic, rngs)
        gates = self._gates(given) if return_gates or sow_weights or key is not None else None
        if sow_weights:
            self.sow(nnx.Intermediate, "attention_weights", gates)
        if key is None or gates is None:
            attended = self._attend(given)
        else:
            attended = self._attend_with_dropout(gates, given.value, key)
        at = {} if out_sharding is None else {"out_sharding": out_sharding}
        outputs = self.out(attended, **at)
        if self.layer_scale is not None:
            outputs = outputs * self.layer_scale[...].astype(outputs.dtype)
        return (outputs, gates) if return_gates else outputs

    def _attend(self, given: Projected) -> Array:
        """`[..., T, N, H]`, with no array of all pairs."""

        def attend(query: Array, key: Array, value: Array, mask: Array | None) -> Array:
            return dot_product_sigmoid_attention(
                query, key, value, self._offset(), mask,
                logit_bias=self._logit_bias(),
                is_causal=given.is_causal,
                precision=self.precision,
            )  # fmt: skip

        return over_batches(attend, given.query, given.key, given.value, given.mask)

    def _gates(self, given: Projected) -> Array:
        """The weights, `[..., N, T, S]`."""

        def weigh(query: Array, key: Array, _: Array, mask: Array | None) -> Array:
            weights = sigmoid_attention_weights(
                query, key, self._offset(), mask,
                logit_bias=self._logit_bias(),
                is_causal=given.is_causal,
                precision=self.precision,
            )  # fmt: skip
            return weights if query.ndim == 4 else weights[0]

        return over_batches(weigh, given.query, given.key, given.value, given.mask)

    def _attend_with_dropout(self, gates: Array, value: Array, key: Array) -> Array:
        shape = gates.shape
        if self.broadcast_dropout:  # the same for all heads and examples
            shape = (1,) * (gates.ndim - 2) + gates.shape[-2:]
        kept = jax.random.bernoulli(key, 1 - self.dropout_rate, shape)
        gates = jnp.where(kept, gates / (1 - self.dropout_rate), 0)
        values = jnp.repeat(value, gates.shape[-3] // value.shape[-2], axis=-2)
        attended = jnp.einsum(
            "...nts,...snh->...tnh", gates, values.astype(gates.dtype), precision=self.precision
        )
        return attended.astype(value.dtype)

    def _logit_bias(self) -> ArrayLike | None:
        numbers = self.logit_bias
        return np.asarray(numbers, np.float32) if isinstance(numbers, tuple) else numbers

    def _offset(self) -> Array | None:
        return None if self.logit_offset is None else self.logit_offset[...].reshape(1, -1, 1, 1)


def _numbers(logit_bias: ArrayLike | Sequence[float], heads: int) -> float | tuple[float, ...]:
    """A number, or one per head: constants of the module, which compare and pickle."""
    array = np.asarray(logit_bias, np.float64)
    if array.shape not in ((), (heads,)):
        raise ValueError(
            must(
                "logit_bias",
                f"be a number or one for each of the {heads} heads",
                f"shape {array.shape}",
                of="sigjax.nn.SigmoidAttention",
            )
        )
    return tuple(array.tolist()) if array.shape else float(array)
