"""Arguments mean what they mean to jax.nn, and are refused by name."""

import jax
import numpy as np
import pytest

import sigjax.nn as snn
from tests.nn.sigmoid_attention.reference import (
    BIAS,
    CASES,
    KEY,
    MASK,
    QUERY,
    QUERY_LENGTHS,
    VALUE,
    B,
    H,
    K,
    N,
    S,
    T,
    attention,
    visible,
)


@pytest.mark.usefixtures("small_blocks")
def test_arguments_mean_what_they_mean_to_jax_nn():
    """With the identity as values the outputs are the weights: the same of them are not 0."""
    query, key = QUERY[..., :1].repeat(S, -1), KEY[..., :1].repeat(S, -1)
    value = np.broadcast_to(np.eye(S, dtype=np.float32)[:, None], (B, S, K, S))

    @jax.jit
    def both(query, key, value):
        return [
            (
                attention(query, key, value, **o),
                jax.nn.dot_product_attention(query, key, value, **o),
            )
            for o in CASES.values()
        ]

    for (ours, theirs), (name, options) in zip(both(query, key, value), CASES.items(), strict=True):
        seen = visible(**options).transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(ours != 0, seen, name)
        sighted = seen.any(-1, keepdims=True)  # softmax gives the blind ones all keys
        np.testing.assert_array_equal((ours != 0) & sighted, (theirs != 0) & sighted, name)


WRONG = [
    (TypeError, "'query' must have a floating dtype", {"query": QUERY.astype(np.int32)}),
    (ValueError, r"'query' must have dimensions \[B, T, N, H\]", {"query": QUERY[None]}),
    (ValueError, "'key' must have shape", {"key": KEY[..., :2]}),
    (ValueError, "'value' must have shape", {"value": VALUE[:, :3]}),
    (ValueError, "the query's dtype float32, got float16", {"value": VALUE.astype(np.float16)}),
    (
        ValueError,
        "'query' must have a multiple of the 2 heads of 'key', got 3",
        {"query": QUERY[:, :, :3]},
    ),
    (ValueError, "'mask' must be bool", {"mask": MASK.astype(np.float32)}),
    (ValueError, "'mask' must broadcast", {"mask": MASK[..., :3]}),
    (ValueError, "'bias' must broadcast", {"bias": BIAS[:, :3]}),
    (ValueError, "'logit_bias' must be a number or one for each of the 4", {"logit_bias": KEY[0]}),
    (ValueError, "'query_seq_lengths' must be int32", {"query_seq_lengths": np.ones(2)}),
    (ValueError, "'key_value_seq_lengths' must be", {"key_value_seq_lengths": QUERY_LENGTHS[:1]}),
]


@pytest.mark.parametrize(("error", "message", "options"), WRONG)
def test_what_jax_nn_refuses_is_refused_by_name(error, message, options):
    given = {"query": QUERY, "key": KEY, "value": VALUE} | options
    with pytest.raises(error, match=message):
        snn.dot_product_sigmoid_attention(**given)
    if "logit_bias" not in options and error is ValueError:
        with pytest.raises((ValueError, TypeError, AssertionError)):
            jax.nn.dot_product_attention(**given)


@pytest.mark.slice
def test_no_batch_no_keys_and_no_queries():
    one = snn.dot_product_sigmoid_attention(QUERY[0], KEY[0], VALUE[0])
    assert one.shape == (T, N, H)
    np.testing.assert_allclose(one, attention(QUERY, KEY, VALUE)[0], rtol=1e-5, atol=1e-6)
    none = snn.dot_product_sigmoid_attention(QUERY, KEY[:, :0], VALUE[:, :0])
    assert none.shape == QUERY.shape
    assert np.all(none == 0)
    assert snn.dot_product_sigmoid_attention(QUERY[:, :0], KEY, VALUE).shape == (B, 0, N, H)
