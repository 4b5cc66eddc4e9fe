"""The layer, beside NumPy's float64 and Flax's handling of arguments."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn

INPUTS = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)


def numpy_layer(layer, inputs, seen, logit_bias=None):
    """What the layer computes, from its parameters, in float64."""
    inputs = np.asarray(inputs, np.float64)

    def projected(part):
        kernel, bias = (np.asarray(x[...], np.float64) for x in (part.kernel, part.bias))
        return np.einsum("btf,fnh->btnh", inputs, kernel) + bias

    query, key, value = (projected(part) for part in (layer.query, layer.key, layer.value))
    key, value = (np.repeat(x, query.shape[2] // x.shape[2], 2) for x in (key, value))
    logits = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(query.shape[-1])
    if logit_bias is None:
        logit_bias = -np.log(seen.sum(-1, keepdims=True))
    weights = np.where(seen, 1 / (1 + np.exp(-logits - logit_bias)), 0)
    attended = np.einsum("bnts,bsnh->btnh", weights, value)
    kernel, bias = (np.asarray(x[...], np.float64) for x in (layer.out.kernel, layer.out.bias))
    return np.einsum("btnh,nhf->btf", attended, kernel) + bias, weights


CAUSAL = np.tril(np.ones((6, 6), bool))


def test_a_layer_is_the_sum_over_keys_between_flax_s_projections():
    options = {"num_kv_heads": 2, "bias_init": nnx.initializers.normal(1.0)}
    layer = snn.SigmoidAttention(4, 8, rngs=nnx.Rngs(0), **options)
    flax = nnx.MultiHeadAttention(4, 8, rngs=nnx.Rngs(0), decode=False, **options)
    assert (
        nnx.to_flat_state(nnx.state(layer, nnx.Param))[0][0]
        == (nnx.to_flat_state(nnx.state(flax, nnx.Param))[0][0])
    )
    nnx.update(layer, nnx.state(flax, nnx.Param))  # weights of Flax's load as they are
    outputs, weights = layer(INPUTS, is_causal=True, return_gates=True)
    expected, of_numpy = numpy_layer(layer, INPUTS, CAUSAL)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, of_numpy, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer(INPUTS, mask=CAUSAL[None, None]), outputs, rtol=1e-5)
    more = layer(INPUTS[None, :, None], mask=None)  # more batch axes
    np.testing.assert_allclose(more[0, :, 0], layer(INPUTS), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer(INPUTS[0]), layer(INPUTS)[0], rtol=1e-4, atol=1e-5)


def test_logit_biases_and_layer_scale():
    heads = np.array([-1.0, 0.0, 1.0, 2.0])
    layer = snn.SigmoidAttention(4, 8, logit_bias=heads, layer_scale=0.1, rngs=nnx.Rngs(0))
    expected, _ = numpy_layer(layer, INPUTS, True, heads.reshape(1, -1, 1, 1))
    np.testing.assert_allclose(layer(INPUTS), 0.1 * expected, rtol=1e-5, atol=1e-6)
    assert layer.layer_scale.shape == (8,)
    learns = snn.SigmoidAttention(4, 8, train_logit_bias=True, rngs=nnx.Rngs(0))
    fixed = snn.SigmoidAttention(4, 8, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(learns(INPUTS), fixed(INPUTS), rtol=1e-6)
    gradient = nnx.grad(lambda m: jnp.sum(m(INPUTS) ** 2))(learns)["logit_offset"][...]
    assert gradient.shape == (4,)
    assert np.all(gradient != 0)
    learns.logit_offset[...] = jnp.asarray(heads, jnp.float32)
    expected, _ = numpy_layer(learns, INPUTS, True, heads.reshape(1, -1, 1, 1) - np.log(6))
    np.testing.assert_allclose(learns(INPUTS), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="'logit_bias' must be a number or one for each of the 4"):
        snn.SigmoidAttention(4, 8, logit_bias=[1.0, 2.0], rngs=nnx.Rngs(0))
    assert pickle.loads(pickle.dumps(nnx.split(layer)[0])) == nnx.split(layer)[0]


@pytest.mark.parametrize("is_causal", [False, True])
def test_decoding_gives_what_the_whole_pass_gives(is_causal):
    options = {"num_kv_heads": 2, "normalize_qk": True, "train_logit_bias": True, "decode": True}
    layer = snn.SigmoidAttention(4, 8, 32, rngs=nnx.Rngs(0), **options)
    whole = layer(INPUTS, is_causal=True, decode=False)
    with pytest.raises(ValueError, match="'init_cache'"):
        layer(INPUTS[:, :1])
    layer.init_cache(INPUTS.shape)
    step = nnx.jit(lambda layer, x: layer(x, is_causal=is_causal))
    steps = [step(layer, INPUTS[:, t : t + 1]) for t in range(INPUTS.shape[1])]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="one position at a time"):
        layer(INPUTS)


def test_dropout_drops_weights():
    layer = snn.SigmoidAttention(2, 8, dropout_rate=0.5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="'deterministic' must be given"):
        layer(INPUTS)
    kept = layer(INPUTS, deterministic=True)
    np.testing.assert_allclose(kept, numpy_layer(layer, INPUTS, CAUSAL | True)[0], atol=1e-5)
    draw = nnx.jit(lambda layer: layer(INPUTS, deterministic=False))
    drawn = np.stack([draw(layer) for _ in range(400)])
    assert np.any(drawn[0] != drawn[1])
    scatter = drawn.std(0) / np.sqrt(len(drawn))
    assert np.all(np.abs(drawn.mean(0) - kept) < 5 * scatter)
    silent = snn.SigmoidAttention(2, 8, dropout_rate=0.5, keep_rngs=False, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="'rngs' must be given"):
        silent(INPUTS, deterministic=False)


def test_weights_are_sown_and_wrong_inputs_refused():
    layer = snn.SigmoidAttention(2, 8, rngs=nnx.Rngs(0))

    @nnx.capture(nnx.Intermediate)
    def sown(layer):
        return layer(INPUTS, sow_weights=True, return_gates=True)[1]

    weights, found = sown(layer)
    np.testing.assert_array_equal(found["attention_weights"][0], weights)
    with pytest.raises(ValueError, match="'inputs_q' must have 8 features"):
        layer(INPUTS[..., :4])
    with pytest.raises(ValueError, match="'inputs_v' must come with 'inputs_k'"):
        layer(INPUTS, None, INPUTS)
    with pytest.raises(ValueError, match="'input_positions' must be None"):
        layer(INPUTS, input_positions=np.arange(INPUTS.shape[-2]))


@pytest.mark.slice
def test_a_layer_put_in_place_of_a_projection_is_called():
    class Doubled(nnx.LinearGeneral):
        def __call__(self, inputs):
            return 2 * super().__call__(inputs)

    layer, merged = (snn.SigmoidAttention(2, 8, rngs=nnx.Rngs(0)) for _ in range(2))
    for name in ("query", "value", "out"):
        old = getattr(layer, name)
        new = Doubled(old.in_features, old.out_features, axis=old.axis, rngs=nnx.Rngs(1))
        setattr(layer, name, new)
        part = getattr(merged, name)
        part.kernel[...], part.bias[...] = 2 * new.kernel[...], 2 * new.bias[...]
    np.testing.assert_allclose(layer(INPUTS), merged(INPUTS), rtol=1e-5, atol=1e-5)


def test_16_bit_layers_keep_their_dtype():
    layer = snn.SigmoidAttention(2, 8, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    outputs, weights = layer(INPUTS, return_gates=True)
    assert outputs.dtype == jnp.bfloat16
    assert weights.dtype == jnp.float32
    expected, _ = numpy_layer(layer, INPUTS, np.ones((6, 6), bool))
    np.testing.assert_allclose(outputs.astype(jnp.float32), expected, rtol=0.05, atol=0.05)
