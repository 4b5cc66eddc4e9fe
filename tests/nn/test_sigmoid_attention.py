"""Sigmoid attention, beside NumPy's in float64 and jax.nn's and Flax's handling of arguments."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn
from sigjax.nn._sigmoid_attention import _blocks

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


@pytest.fixture
def small_blocks(monkeypatch):
    """Three by three blocks, the last of them padded."""
    monkeypatch.setattr(_blocks, "LARGEST", (4, 5))


@pytest.fixture
def hardly_optimized():
    """To optimise these programs takes longer than to run them."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# Traced anew at every call, so that the blocks are those of the fixture.
attention = snn.dot_product_sigmoid_attention.__wrapped__


def outputs_and_gradients(query, key, value, ct, options):
    arrays = {n: jnp.asarray(x) for n, x in options.items() if n in ("bias", "logit_bias")}
    others = {n: x for n, x in options.items() if n not in arrays}

    def attend(query, key, value, arrays):
        return attention(query, key, value, **arrays, **others)

    outputs, pull = jax.vjp(attend, query, key, value, arrays)
    return outputs, *pull(ct)


@pytest.mark.usefixtures("small_blocks", "hardly_optimized")
def test_values_and_gradients_are_those_of_float64():
    """Relative to the sums of absolute terms."""
    cases = CASES | TERMS
    program = jax.jit(
        lambda *given: {n: outputs_and_gradients(*given, o) for n, o in cases.items()}
    )
    found = program(QUERY, KEY, VALUE, CT)
    for name, options in cases.items():
        seen = visible(**options)
        terms = {n: options[n] for n in ("bias", "scale", "logit_bias") if n in options}
        _, expected, absolute = reference(QUERY, KEY, VALUE, CT, seen=seen, **terms)
        *arrays, of_terms = found[name]
        for x, y, bound in zip(arrays, expected[:4], absolute[:4], strict=True):
            assert x.dtype == jnp.float32
            assert np.all(np.abs(x - y) <= 1e-6 * bound + 1e-30), name
        dlogits, bound = expected[4], absolute[4]
        for term, gradient in of_terms.items():
            shape = gradient.shape if gradient.ndim == 4 else (1, gradient.size, 1, 1)
            axes = tuple(i for i, size in enumerate(shape) if size == 1)
            off = dlogits.sum(axes).reshape(gradient.shape) - gradient
            assert np.all(np.abs(off) <= 2e-6 * bound.sum(axes).reshape(gradient.shape)), term
        blind = ~seen.any(-1).transpose(0, 2, 1)
        assert np.all(found[name][0][blind] == 0)
        assert np.all(found[name][1][blind] == 0)


@pytest.mark.usefixtures("small_blocks", "hardly_optimized")
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


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_16_bits_are_rounded_once(dtype):
    query, key, value, ct = (jnp.asarray(x, dtype) for x in (QUERY, KEY, VALUE, CT))
    found, pull = jax.vjp(snn.dot_product_sigmoid_attention, query, key, value)
    _, expected, absolute = reference(query, key, value, ct, seen=visible())
    half_a_step = float(jnp.finfo(dtype).eps) / 2
    arrays = zip((found, *pull(ct)), expected[:4], absolute[:4], strict=True)
    for x, y, bound in arrays:
        assert x.dtype == dtype
        off = np.abs(np.asarray(x, np.float64) - y)
        assert np.all(off <= half_a_step * np.abs(y) + 1e-6 * bound)


def plain(query, key, value, bias):
    """The whole matrix at once."""
    key, value = (jnp.repeat(x, N // K, axis=-2) for x in (key, value))
    logits = jnp.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(H) + bias
    seen = jnp.tril(jnp.ones((T, S), bool))
    logits = logits - jnp.log(seen.sum(-1, keepdims=True).astype(bias.dtype))
    return jnp.einsum("bnts,bsnh->btnh", jnp.where(seen, jax.nn.sigmoid(logits), 0), value)


@pytest.mark.usefixtures("small_blocks", "hardly_optimized")
def test_every_mode_and_order_under_vmap():
    def blocked(query, key, value, bias):
        return attention(query, key, value, bias, is_causal=True)

    def everything(attend, point, direction):
        def loss(point):
            return jnp.sum(jnp.sin(3 * attend(*point)))

        return (
            jax.jvp(lambda *point: attend(*point), point, direction),
            jax.jvp(jax.grad(loss), (point,), (direction,)),  # forward over reverse
            jax.grad(lambda p: jax.jvp(loss, (p,), (direction,))[1])(point),
            jax.grad(jax.checkpoint(loss))(point),
        )

    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        point, direction = (
            tuple(rng.normal(size=(2, *x.shape)) for x in (QUERY, KEY, VALUE, BIAS[:, :1]))
            for _ in range(2)
        )
        ours, theirs = (
            jax.jit(jax.vmap(functools.partial(everything, attend)))(point, direction)
            for attend in (blocked, plain)
        )
    for x, y in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-10)


def test_no_array_of_all_pairs_is_held_by_any_derivative():
    """By the compiler's own account, for lengths at which that array would have 64 MiB."""
    n = 4096

    def loss(query, key, value):
        return jnp.sum(snn.dot_product_sigmoid_attention(query, key, value) ** 2)

    def directional(*arrays):
        return jax.jvp(jax.grad(loss, (0, 1, 2)), arrays, arrays)

    x = jax.ShapeDtypeStruct((1, n, 1, 4), jnp.float32)
    for function in (jax.grad(loss, (0, 1, 2)), directional):
        memory = jax.jit(function).lower(x, x, x).compile().memory_analysis()
        assert memory.temp_size_in_bytes < 4 * n * n / 8


# inputs' shardings: of queries, of keys and values, and of the outputs
MESHES = {
    "batch and heads": (P("d", None, "m"), P("d", None, "m"), P("d", None, "m")),
    "sequence and heads": (P(None, "d", "m"), P(None, "d", "m"), P(None, "d", "m")),
    "heads, over more devices than keys have": (
        P(None, None, ("d", "m")), P(), P(None, None, ("d", "m")),
    ),
}  # fmt: skip
MORE_MESHES = {
    "batch and sequence": (P("d", "m"), P("d", "m"), P("d", "m")),
    "queries alone": (P(None, ("d", "m")), P(), P(None, ("d", "m"))),
    "keys alone": (P(), P("d", None, "m"), P("d", None, "m")),
}


@pytest.mark.usefixtures("small_blocks", "hardly_optimized")
@pytest.mark.parametrize(
    ("kind", "places"),
    [
        ("explicit", MESHES),
        ("manual", {"batch": (P("d"),) * 3}),
        pytest.param("explicit", MORE_MESHES, marks=pytest.mark.proof),
        pytest.param("auto", MESHES | MORE_MESHES, marks=pytest.mark.proof),
    ],
)
def test_meshes_give_the_same_numbers(kind, places):
    """On explicit axes the outputs are divided as the queries are, and gradients as inputs are."""
    q, ct = np.random.default_rng(2).normal(size=(2, 2, 12, 4, 3)).astype(np.float32)
    k, v = np.random.default_rng(3).normal(size=(2, 2, 12, 2, 3)).astype(np.float32)
    mask = np.random.default_rng(4).random((2, 1, 12, 12)) < 0.7

    def run(q, k, v, ct, mask):
        y, pull = jax.vjp(lambda *a: attention(*a, mask=mask, is_causal=True), q, k, v)
        return y, *pull(ct)

    expected = jax.jit(run)(q, k, v, ct, mask)
    axes = AxisType.Explicit if kind == "explicit" else AxisType.Auto
    mesh = jax.make_mesh((2, 2), ("d", "m"), axis_types=(axes,) * 2)
    with jax.set_mesh(mesh):
        if kind == "manual":
            run = jax.shard_map(run, in_specs=P("d"), out_specs=P("d"))
        program = jax.jit(lambda every: [run(*given, mask) for given in every])
        found = program([
            tuple(
                jax.device_put(x, NamedSharding(mesh, place))
                for x, place in ((q, of_q), (k, of_k), (v, of_k), (ct, of_y))
            )
            for of_q, of_k, of_y in places.values()
        ])  # fmt: skip
    for one, (of_q, of_k, of_y) in zip(found, places.values(), strict=True):
        for x, y, place in zip(one, expected, (of_y, of_q, of_k, of_k), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
            if kind == "explicit":
                assert x.sharding.is_equivalent_to(NamedSharding(mesh, place), 4)


WRONG = [
    (TypeError, "'query' must have a floating dtype", {"query": QUERY.astype(np.int32)}),
    (ValueError, r"'query' must have dimensions \[B, T, N, H\]", {"query": QUERY[None]}),
    (ValueError, "'key' must have shape", {"key": KEY[..., :2]}),
    (ValueError, "'value' must have shape", {"value": VALUE[:, :3]}),
    (ValueError, "the query's dtype float32, got float16", {"value": VALUE.astype(np.float16)}),
    (ValueError, "the 3 heads of 'query' must be a multiple of the 2", {"query": QUERY[:, :, :3]}),
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


def test_no_batch_no_keys_and_no_queries():
    one = snn.dot_product_sigmoid_attention(QUERY[0], KEY[0], VALUE[0])
    assert one.shape == (T, N, H)
    np.testing.assert_allclose(one, attention(QUERY, KEY, VALUE)[0], rtol=1e-5, atol=1e-6)
    none = snn.dot_product_sigmoid_attention(QUERY, KEY[:, :0], VALUE[:, :0])
    assert none.shape == QUERY.shape
    assert np.all(none == 0)
    assert snn.dot_product_sigmoid_attention(QUERY[:, :0], KEY, VALUE).shape == (B, 0, N, H)


INPUTS = RNG.normal(size=(2, 6, 8)).astype(np.float32)


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
    drawn = np.stack([layer(INPUTS, deterministic=False) for _ in range(400)])
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
