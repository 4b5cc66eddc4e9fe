"""Sigmoid attention as a function, called as `jax.nn.dot_product_attention` is."""

import functools
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ...functional._compiled import compiled
from ...functional._messages import must
from ...functional._precision import computed_in
from .._products import Precision
from ._blocks import Pairs, attend, weights
from ._layout import Shape
from ._sight import Sight, sight

_must = functools.partial(must, of="sigjax.nn.dot_product_sigmoid_attention")


@compiled("is_causal", "local_window_size", "precision")
def dot_product_sigmoid_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    logit_bias: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    is_causal: bool = False,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
    precision: Precision = None,
) -> Array:
    r"""$\sigma\left(\frac{QK^\top}{\sqrt d} + B + b\right) V$: attention without a softmax.

    Arguments, shapes and masks are those of `jax.nn.dot_product_attention`. Each key is weighed
    alone, whatever the others are, so that a query may see all of them, or none. With
    $b = -\log n$ a weight is about $1/n$ at first, as softmax's is; with $b = 0$ the output grows
    with the number of keys.

    No array of all pairs is held, in any mode or order of differentiation: weights are made a
    block at a time, and made again where a derivative needs them. Memory is linear in the lengths,
    and on a single device blocks that no query of theirs sees are passed over.

    Args:
      query: `[B, T, N, H]` or `[T, N, H]`, of a floating dtype.
      key, value: `[B, S, K, H]` or `[S, K, H]`, of the query's dtype; $K$ divides $N$, and each
        $N/K$ heads of queries share a head of keys.
      bias: added to the logits; its four dimensions broadcast to `[B, N, T, S]`.
      mask: bool, broadcast as `bias` is: where False, a key is not seen.
      logit_bias: $b$, a number or one per head, `[N]`. None for $-\log n$, where $n$ is the number
        of keys that the query may see: what is masked, later, beyond a length or outside of the
        window is not counted.
      scale: of the logits, $1/\sqrt H$ if None.
      is_causal: whether query $i$ sees keys $0$ to $i$ only.
      query_seq_lengths, key_value_seq_lengths: int32 `[B]`; what is beyond sees nothing, and is
        not seen.
      local_window_size: how many keys to the left and to the right of its own position a query
        sees; one number for both.
      precision: of the matrix products, as for `jax.numpy.einsum`.

    Returns:
      Array of the shape and dtype of `query`. 16-bit is computed in float32 and rounded once. A
      query that sees no key gives 0, and its gradients are 0.

    Raises:
      TypeError: if an array is no floating one.
      ValueError: if shapes or dtypes do not go together.

    Example:
      >>> import jax
      >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 100, 2, 8))
      >>> dot_product_sigmoid_attention(q, k, v, is_causal=True).shape
      (1, 100, 2, 8)

      Softmax's weights sum to 1; with keys of 0 these sum to n sigma(-log n) = n/(n + 1):

      >>> ones = jax.numpy.ones_like(v)
      >>> print(f"{dot_product_sigmoid_attention(q, 0 * k, ones)[0, 0, 0, 0]:.6f}")
      0.990099

    References:
      Ramapuram et al. 2024, Theory, Analysis, and Best Practices for Sigmoid Self-Attention
      (arXiv:2409.04431).
    """
    call = prepared(
        query, key, value, bias, mask,
        logit_bias=logit_bias,
        scale=scale,
        is_causal=is_causal,
        query_seq_lengths=query_seq_lengths,
        key_value_seq_lengths=key_value_seq_lengths,
        local_window_size=local_window_size,
    )  # fmt: skip
    found = attend(call.query, call.key, call.value, call.bounds, call.terms, precision)
    like = jnp.asarray(query)
    return found.astype(like.dtype).reshape(like.shape)


@compiled("is_causal", "precision")
def sigmoid_attention_weights(
    query: ArrayLike,
    key: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    logit_bias: ArrayLike | None = None,
    is_causal: bool = False,
    precision: Precision = None,
) -> Array:
    """The weights alone, `[B, N, T, S]`, in float32 at least."""
    call = prepared(query, key, key, bias, mask, logit_bias=logit_bias, is_causal=is_causal)
    return weights(call.query, call.key, call.bounds, call.terms, precision)


class Call(NamedTuple):
    """Checked arguments, in the dtype that sums are made in.

    Attributes:
      query: `[B, T, N, H]`, scaled.
      key, value: `[B, S, K, H]`.
      bounds: of the queries' sight.
      terms: what is added to the logits.
    """

    query: Array
    key: Array
    value: Array
    bounds: Sight
    terms: Pairs


def prepared(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None,
    mask: ArrayLike | None,
    *,
    logit_bias: ArrayLike | None,
    scale: ArrayLike | None = None,
    is_causal: bool,
    query_seq_lengths: ArrayLike | None = None,
    key_value_seq_lengths: ArrayLike | None = None,
    local_window_size: int | tuple[int, int] | None = None,
) -> Call:
    """Checks arguments and gives them one form."""
    query, key, value = (_of_four(x) for x in (query, key, value))
    if not jnp.issubdtype(query.dtype, jnp.floating):
        raise TypeError(_must("query", "have a floating dtype", query.dtype.name))
    batch, queries, heads, features = _rank(query, "query")
    _, keys, key_heads, _ = _rank(key, "key")
    _require("key", key, (batch, keys, key_heads, features), query.dtype)
    _require("value", value, key.shape, query.dtype)
    if not key_heads or heads % key_heads:
        raise ValueError(
            _must("query", f"have a multiple of the {key_heads} heads of 'key'", f"{heads} heads")
        )
    wide = computed_in(query.dtype)
    pairs = (batch, heads, queries, keys)
    if mask is not None:
        mask = _of_pairs("mask", mask, pairs)
        if mask.dtype != jnp.bool_:
            raise ValueError(_must("mask", "be bool", mask.dtype.name))
    window = local_window_size
    bounds = sight(
        queries,
        keys,
        mask,
        is_causal,
        _lengths("query_seq_lengths", query_seq_lengths, batch),
        _lengths("key_value_seq_lengths", key_value_seq_lengths, batch),
        (window, window) if isinstance(window, int) else window,
    )
    terms = {}
    if logit_bias is not None:
        terms["logit_bias"] = _of_heads(jnp.asarray(logit_bias), heads).astype(wide)
    if bias is not None:
        terms["bias"] = _of_pairs("bias", bias, pairs).astype(wide)
    factor = 1 / math.sqrt(features) if scale is None else jnp.asarray(scale).astype(wide)
    query, key, value = (x.astype(wide) for x in (query, key, value))
    return Call(query * factor, key, value, bounds, terms)


def _of_heads(x: Array, heads: int) -> Array:
    if x.shape not in ((), (heads,)):
        raise ValueError(
            _must(
                "logit_bias",
                f"be a number or one for each of the {heads} heads",
                f"shape {x.shape}",
            )
        )
    return x.reshape(1, -1, 1, 1)


def _of_four(x: ArrayLike) -> Array:
    """With leading dimensions of 1, if it has fewer than four."""
    array = jnp.asarray(x)
    return jnp.expand_dims(array, tuple(range(4 - array.ndim)))


def _rank(x: Array, name: str) -> Shape:
    if x.ndim != 4:
        raise ValueError(
            _must(name, "have dimensions [B, T, N, H] or [T, N, H]", f"shape {x.shape}")
        )
    return x.shape


def _require(name: str, x: Array, shape: Shape, dtype: Any) -> None:
    if x.shape != shape:
        raise ValueError(_must(name, f"have shape {shape}", x.shape))
    if x.dtype != dtype:
        raise ValueError(_must(name, f"have the query's dtype {dtype.name}", x.dtype.name))


def _of_pairs(name: str, x: ArrayLike, pairs: Shape) -> Array:
    array = _of_four(x)
    if array.ndim != 4 or any(
        have not in (1, whole) for have, whole in zip(array.shape, pairs, strict=True)
    ):
        raise ValueError(_must(name, f"broadcast to {pairs}", f"shape {array.shape}"))
    return array


def _lengths(name: str, lengths: ArrayLike | None, batch: Any) -> Array | None:
    if lengths is None:
        return None
    array = jnp.asarray(lengths)
    if array.shape != (batch,) or array.dtype != jnp.int32:
        raise ValueError(
            _must(
                name, f"be int32 of shape {(batch,)}", f"{array.dtype.name} of shape {array.shape}"
            )
        )
    return array
