"""Arguments of sigmoid attention, and what it gives for them in NumPy's float64, pair by pair."""

import numpy as np

import sigjax.nn as snn

B, T, S, N, K, H = 2, 9, 11, 4, 2, 3
RNG = np.random.default_rng(0)
QUERY, CT = RNG.normal(size=(2, B, T, N, H)).astype(np.float32)
KEY, VALUE = RNG.normal(size=(2, B, S, K, H)).astype(np.float32)
BIAS = RNG.normal(size=(B, N, T, S)).astype(np.float32)
MASK = RNG.random((B, N, T, S)) < 0.6
MASK[0, 1, 3] = False  # a query that sees no key
QUERY_LENGTHS, KEY_LENGTHS = np.array([7, 9], np.int32), np.array([11, 4], np.int32)

# what of jax.nn.dot_product_attention: its arguments
CASES = {
    "all": {},
    "causal": {"is_causal": True},
    "window": {"local_window_size": 2},
    "window, causal": {"local_window_size": (3, 1), "is_causal": True},
    "window far to the left": {"local_window_size": (1, 0), "key_value_seq_lengths": KEY_LENGTHS},
    "lengths": {"query_seq_lengths": QUERY_LENGTHS, "key_value_seq_lengths": KEY_LENGTHS},
    "mask": {"mask": MASK},
    "mask of keys": {"mask": MASK[:, :1, :1], "is_causal": True},
    "mask of queries": {"mask": MASK[:1, :, :, :1]},
    "mask, window, lengths": {
        "mask": MASK[:, :1], "local_window_size": (4, 2), "query_seq_lengths": QUERY_LENGTHS,
    },
}  # fmt: skip
TERMS = {
    "bias": {"bias": BIAS, "is_causal": True},
    "bias of heads": {"bias": BIAS[:1, :, :1, :1], "scale": 0.3},
    "logit_bias": {"logit_bias": np.float32(-1.5), "mask": MASK},
    "logit_bias of heads": {"logit_bias": BIAS[0, :, 0, 0], "bias": BIAS[:, :1]},
}


def visible(is_causal=False, local_window_size=None, mask=None, query_seq_lengths=None,
            key_value_seq_lengths=None, **_):  # fmt: skip
    """Which keys queries may see, pair by pair."""
    found = np.zeros((B, N, T, S), bool)
    window = local_window_size
    left, right = window if isinstance(window, tuple) else (window, window)
    mask = np.broadcast_to(True if mask is None else mask, found.shape)
    for b, n, t, s in np.ndindex(*found.shape):
        found[b, n, t, s] = (
            mask[b, n, t, s]
            and (not is_causal or s <= t)
            and (window is None or t - left <= s <= t + right)
            and (query_seq_lengths is None or t < query_seq_lengths[b])
            and (key_value_seq_lengths is None or s < key_value_seq_lengths[b])
        )
    return found


def reference(query, key, value, ct, bias=0.0, scale=None, logit_bias=None, seen=None):
    """Outputs, weights, gradients by query, key, value and logits; and sums of absolute terms."""
    query, key, value, ct = (np.asarray(x, np.float64) for x in (query, key, value, ct))
    key, value = (np.repeat(x, query.shape[2] // x.shape[2], axis=2) for x in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if logit_bias is None:
        logit_bias = -np.log(np.maximum(seen.sum(-1, keepdims=True), 1))
    else:
        logit_bias = np.asarray(logit_bias, np.float64).reshape(1, -1, 1, 1)
    logits = scale * np.einsum("btnh,bsnh->bnts", query, key) + bias + logit_bias
    weights = np.where(seen, 1 / (1 + np.exp(-logits)), 0)

    def sums(query, key, value, ct, slopes):
        dlogits = slopes * np.einsum("btnh,bsnh->bnts", ct, value)
        grouped = (*value.shape[:2], K, -1, H)
        return (
            np.einsum("bnts,bsnh->btnh", weights, value),
            scale * np.einsum("bnts,bsnh->btnh", dlogits, key),
            scale * np.einsum("bnts,btnh->bsnh", dlogits, query).reshape(grouped).sum(3),
            np.einsum("bnts,btnh->bsnh", weights, ct).reshape(grouped).sum(3),
            dlogits,
        )

    slopes = weights * (1 - weights)
    absolute = sums(*map(np.abs, (query, key, value, ct)), slopes)
    return weights, sums(query, key, value, ct, slopes), absolute


# Traced anew at every call, so that the blocks are those of the fixture.
attention = snn.dot_product_sigmoid_attention.__wrapped__
