"""What the attention modules share: Flax's projections and cache around a product of our own."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax import Array, lax
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional._messages import must


class AttentionOptions(TypedDict, total=False):
    """Keyword arguments of `flax.nnx.MultiHeadAttention`; what is left out has Flax's default."""

    dtype: Any
    param_dtype: Any
    broadcast_dropout: bool
    dropout_rate: float
    deterministic: bool | None
    precision: Any
    kernel_init: Initializer
    out_kernel_init: Initializer | None
    bias_init: Initializer
    out_bias_init: Initializer | None
    use_bias: bool
    decode: bool | None
    normalize_qk: bool
    qkv_promote_dtype: Callable[..., Any]
    out_promote_dtype: Callable[..., Any]
    ln_promote_dtype: Callable[..., Any]
    qkv_dot_general: Callable[..., Any] | None
    out_dot_general: Callable[..., Any] | None
    qkv_dot_general_cls: Any
    out_dot_general_cls: Any
    keep_rngs: bool
    kernel_metadata: Mapping[str, Any]
    out_kernel_metadata: Mapping[str, Any]
    bias_metadata: Mapping[str, Any]
    out_bias_metadata: Mapping[str, Any]
    query_ln_scale_metadata: Mapping[str, Any]
    key_ln_scale_metadata: Mapping[str, Any]


class Projected(NamedTuple):
    """What attention is computed from.

    Attributes:
      query: `[..., T, N, H]`.
      key, value: `[..., S, K, H]`, with those of the cache.
      mask: bool, broadcastable to `[..., N, T, S]`, or None.
      is_causal: whether a causal mask is to be laid over it.
    """

    query: Array
    key: Array
    value: Array
    mask: Array | None
    is_causal: bool


class Attention(nnx.MultiHeadAttention):
    """Flax's module with its steps apart, so that a subclass has its own between them."""

    def project(
        self,
        inputs_q: ArrayLike,
        inputs_k: ArrayLike | None,
        inputs_v: ArrayLike | None,
        mask: ArrayLike | None,
        is_causal: bool,
        decode: bool | None,
        sharding: Any,
    ) -> Projected:
        """Queries, keys and values, as `flax.nnx.MultiHeadAttention` makes them.

        Raises:
          ValueError: for inputs of other features, values without keys, a missing cache or one of
            another shape.
        """
        name = f"sigjax.nn.{type(self).__name__}"
        inputs_q = jnp.asarray(inputs_q)
        if inputs_k is None and inputs_v is not None:
            raise ValueError(must("inputs_v", "come with 'inputs_k'", "inputs_k=None", of=name))
        inputs_k = inputs_q if inputs_k is None else jnp.asarray(inputs_k)
        inputs_v = inputs_k if inputs_v is None else jnp.asarray(inputs_v)
        if inputs_q.shape[-1] != self.in_features:
            raise ValueError(
                must(
                    "inputs_q",
                    f"have {self.in_features} features in its last dimension",
                    f"shape {inputs_q.shape}",
                    of=name,
                )
            )
        at = {} if sharding is None else {"out_sharding": sharding}
        query, key, value = (
            layer(inputs, **at)
            for layer, inputs in (
                (self.query, inputs_q), (self.key, inputs_k), (self.value, inputs_v),
            )
        )  # fmt: skip
        if self.query_ln is not None and self.key_ln is not None:
            query, key = self.query_ln(query), self.key_ln(key)
        mask = None if mask is None else jnp.asarray(mask).astype(bool)
        decode = self.decode if decode is None else decode
        if decode:
            key, value, written = self._cached(name, key, value)
            mask = written if mask is None else mask & written
        query, key, value = dtypes.promote_dtype((query, key, value), dtype=self.dtype)
        # One query after those of the cache sees all of them: the cache is causal itself.
        return Projected(query, key, value, mask, is_causal and not decode)

    def dropout_key(self, deterministic: bool | None, rngs: Any) -> Array | None:
        """A random key if weights are to be dropped, else None.

        Raises:
          ValueError: if it is not said whether they are, or there is no source of randomness.
        """
        if not self.dropout_rate:
            return None
        name = f"sigjax.nn.{type(self).__name__}"
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic is None:
            raise ValueError(
                must(
                    "deterministic",
                    "be given to the module or to its call where weights may be dropped",
                    "None",
                    of=name,
                )
            )
        if deterministic:
            return None
        stream = self.rngs if rngs is None else rngs
        stream = stream.dropout if isinstance(stream, nnx.Rngs) else stream
        if stream is None:
            raise ValueError(must("rngs", "be given where weights are dropped", "None", of=name))
        return stream()

    def _cached(self, name: str, key: Array, value: Array) -> tuple[Array, Array, Array]:
        """All keys and values so far, and which places of the cache have been written."""
        if self.cached_key is None or self.cached_value is None or self.cache_index is None:
            raise ValueError(f"{name}: call 'init_cache' before decoding")
        *batch, length, heads, features = self.cached_key.shape
        if key.shape != (*batch, 1, heads, features):
            raise ValueError(
                f"{name}: one position at a time is decoded, and its keys must have the cache's "
                f"shape {(*batch, 1, heads, features)}, got {key.shape}"
            )
        index = self.cache_index[...]
        at = (*(jnp.zeros_like(index) for _ in batch), index)
        at = (*at, jnp.zeros_like(index), jnp.zeros_like(index))
        key, value = (
            lax.dynamic_update_slice(cache[...], new.astype(cache.dtype), at)
            for cache, new in ((self.cached_key, key), (self.cached_value, value))
        )
        self.cached_key[...], self.cached_value[...] = key, value
        self.cache_index[...] = index + 1
        written = jnp.arange(length, dtype=index.dtype) <= index
        return key, value, written.reshape((1,) * (len(batch) + 2) + (length,))


def over_batches(
    attend: Callable[..., Array], query: Array, key: Array, value: Array, mask: Array | None
) -> Array:
    """Calls a function of at most one batch axis on arrays of any number of them."""
    further = query.shape[:-4]
    if not further:
        return attend(query, key, value, mask)
    if mask is not None:
        mask = jnp.expand_dims(mask, tuple(range(query.ndim - mask.ndim)))
        mask = jnp.broadcast_to(mask, (*further, *mask.shape[len(further) :]))
    for _ in further:
        attend = jax.vmap(attend, in_axes=(0, 0, 0, None if mask is None else 0))
    return attend(query, key, value, mask)
