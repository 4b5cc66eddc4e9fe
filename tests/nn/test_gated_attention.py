"""Gated attention, beside NumPy's in float64 and Flax's attention with a gate behind it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn

INPUTS = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
MASK = np.random.default_rng(1).random((2, 1, 6, 6)) < 0.7
NORMAL = nnx.initializers.normal(1.0)
FUNCTIONS = {
    "Flax's": nnx.dot_product_attention,
    "JAX's": jax.nn.dot_product_attention,
    "ours": snn.dot_product_sigmoid_attention,
}


def of_numpy(layer, inputs, seen, weigh):
    """Outputs, gates and attention weights of a layer, from its parameters."""
    inputs = np.asarray(inputs, np.float64)

    def through(part):
        kernel, bias = (np.asarray(x[...], np.float64) for x in (part.kernel, part.bias))
        return np.tensordot(inputs, kernel, 1) + bias

    query, key, value = (through(part) for part in (layer.query, layer.key, layer.value))
    key, value = (np.repeat(x, query.shape[2] // x.shape[2], 2) for x in (key, value))
    logits = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(query.shape[-1])
    weights = weigh(logits, seen)
    attended = np.einsum("bnts,bsnh->btnh", weights, value)
    gates = 1 / (1 + np.exp(-through(layer.gate)))
    if layer.elementwise:
        gates = gates.reshape(attended.shape)
    factors = gates if layer.elementwise else gates[..., None]
    kernel, bias = (np.asarray(x[...], np.float64) for x in (layer.out.kernel, layer.out.bias))
    return np.einsum("btnh,nhf->btf", attended * factors, kernel) + bias, gates, weights


def softmax(logits, seen):
    powers = np.where(seen, np.exp(logits), 0)
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits, seen):
    n = np.broadcast_to(seen, logits.shape).sum(-1, keepdims=True)
    return np.where(seen, 1 / (1 + n * np.exp(-logits)), 0)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_gate_behind_any_attention(function, elementwise):
    layer = snn.GatedAttention(
        4, 8, num_kv_heads=2, elementwise=elementwise, opening=0.2, gate_kernel_init=NORMAL,
        attention_fn=FUNCTIONS[function], rngs=nnx.Rngs(0),
    )  # fmt: skip
    seen = MASK & np.tril(np.ones((6, 6), bool)) | np.eye(6, dtype=bool)
    outputs, gates, weights = layer(
        INPUTS, mask=seen, is_causal=True, return_gates=True, return_attention=True
    )
    weigh = sigmoid if function == "ours" else softmax
    expected = of_numpy(layer, INPUTS, seen, weigh)
    for x, y in zip((outputs, gates, weights), expected, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(layer(INPUTS, mask=seen, is_causal=True), outputs)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("elementwise", [False, True])
def test_every_gate_starts_as_far_open_as_stated(elementwise):
    """A gate of 1/2 halves outputs and gradients of what it gates, exactly."""
    make = {"elementwise": elementwise, "rngs": nnx.Rngs(0)}
    _, gates = snn.GatedAttention(2, 8, opening=0.9, **make)(INPUTS, return_gates=True)
    np.testing.assert_allclose(gates, 0.9, rtol=1e-6)
    half = snn.GatedAttention(2, 8, **make)
    flax = nnx.MultiHeadAttention(2, 8, decode=False, rngs=nnx.Rngs(0))
    nnx.update(flax, nnx.state(half, lambda path, _: path[0] != "gate"))

    def loss(model):
        return jnp.sum(model(INPUTS) * INPUTS)

    np.testing.assert_array_equal(half(INPUTS), flax(INPUTS) / 2)
    ours, theirs = (nnx.grad(loss)(model) for model in (half, flax))
    for name in ("query", "key", "value"):
        for part in ("kernel", "bias"):
            x, y = (gradient[name][part][...] for gradient in (ours, theirs))
            np.testing.assert_array_equal(x, y / 2)
    assert np.any(ours["gate"]["kernel"][...] != 0)  # and the gate learns


@pytest.mark.slice
def test_gates_look_at_what_they_are_given():
    layer = snn.GatedAttention(2, 8, gate_kernel_init=NORMAL, rngs=nnx.Rngs(0))
    _, gates = layer(INPUTS, INPUTS[:, :3], gate_inputs=2 * INPUTS, return_gates=True)
    logits = np.log(gates / (1 - gates)).astype(np.float64)
    np.testing.assert_allclose(logits, layer.gate(2 * INPUTS), rtol=1e-3, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("function", ["Flax's", "ours"])
def test_decoding_gives_what_the_whole_pass_gives(function):
    layer = snn.GatedAttention(
        4, 8, 32, num_kv_heads=2, normalize_qk=True, elementwise=True, gate_kernel_init=NORMAL,
        attention_fn=FUNCTIONS[function], rngs=nnx.Rngs(0),
    )  # fmt: skip
    whole = layer(INPUTS, is_causal=True)
    layer.init_cache(INPUTS.shape)
    step = nnx.jit(lambda layer, x: layer(x, is_causal=True, decode=True))
    steps = [step(layer, INPUTS[:, t : t + 1]) for t in range(INPUTS.shape[1])]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-5, atol=1e-6)


def test_a_function_must_take_what_it_has_to_be_told():
    def bare(query, key, value):
        return query

    layer = snn.GatedAttention(2, 8, attention_fn=bare, rngs=nnx.Rngs(0))
    layer(INPUTS)
    with pytest.raises(ValueError, match="takes mask, is_causal for this call, got <function"):
        layer(INPUTS, mask=MASK, is_causal=True)
    with pytest.raises(ValueError, match="takes input_positions for this call"):
        layer(INPUTS, input_positions=np.arange(6))
    dropping = snn.GatedAttention(
        2, 8, attention_fn=jax.nn.dot_product_attention, dropout_rate=0.5, rngs=nnx.Rngs(0)
    )
    dropping(INPUTS, deterministic=True)
    with pytest.raises(ValueError, match="takes dropout_rng, dropout_rate, deterministic"):
        dropping(INPUTS, deterministic=False)


def test_a_function_that_asks_for_positions_is_told_them():
    def rotated(query, key, value, *, mask=None, is_causal=False, input_positions):
        angle = input_positions[..., None, None].astype(jnp.float32)
        query, key = (
            x * jnp.cos(angle) + jnp.roll(x, 1, -1) * jnp.sin(angle) for x in (query, key)
        )
        return jax.nn.dot_product_attention(query, key, value, mask=mask, is_causal=is_causal)

    layer = snn.GatedAttention(2, 8, attention_fn=rotated, rngs=nnx.Rngs(0))
    at_zero = layer(INPUTS, is_causal=True, input_positions=jnp.zeros((6,), int))
    plain = snn.GatedAttention(2, 8, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(at_zero, plain(INPUTS, is_causal=True), rtol=1e-5, atol=1e-6)
    outputs, weights = layer(INPUTS, input_positions=jnp.arange(6), return_attention=True)
    assert np.any(outputs != at_zero)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)


def test_dropout_and_sown_weights_are_flax_s():
    layer = snn.GatedAttention(2, 8, dropout_rate=0.5, rngs=nnx.Rngs(0))
    first, second = (layer(INPUTS, deterministic=False) for _ in range(2))
    assert np.any(first != second)

    @nnx.capture(nnx.Intermediate)
    def sown(layer):
        return layer(INPUTS, deterministic=True, sow_weights=True, return_attention=True)[1]

    weights, found = sown(layer)
    np.testing.assert_allclose(found["attention_weights"][0], weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opening": 1.0}, "'opening' must be strictly between 0 and 1, got 1.0"),
        ({"opening": 0.9, "use_bias": False}, "must be 0.5 with use_bias=False, got 0.9"),
    ],
)
def test_openings_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        snn.GatedAttention(2, 8, rngs=nnx.Rngs(0), **options)
    plain = snn.GatedAttention(2, 8, use_bias=False, rngs=nnx.Rngs(0))
    assert plain.gate.bias is None


def test_16_bit_layers_have_gates_of_float32():
    layer = snn.GatedAttention(2, 8, dtype=jnp.bfloat16, opening=0.999, rngs=nnx.Rngs(0))
    with jax.numpy_dtype_promotion("standard"):  # jax.nn's needs it
        outputs, gates = layer(INPUTS, return_gates=True)
    assert outputs.dtype == jnp.bfloat16
    assert gates.dtype == jnp.float32
    assert np.all(gates < 1)


@pytest.mark.parametrize("place", ["query", "gate", "out"])
def test_what_replaces_a_layer_is_called_and_learns(place):
    """LoRA around it, which knows no shardings of outputs."""
    layer, merged = (
        snn.GatedAttention(2, 8, gate_kernel_init=NORMAL, rngs=nnx.Rngs(0)) for _ in range(2)
    )
    old = getattr(layer, place)

    class Around(nnx.Module):
        def __init__(self):
            self.base = old
            self.scale = nnx.Param(jnp.float32(2))

        def __call__(self, inputs):
            return self.scale[...] * self.base(inputs)

    setattr(layer, place, Around())
    part = getattr(merged, place)
    part.kernel[...], part.bias[...] = 2 * part.kernel[...], 2 * part.bias[...]
    np.testing.assert_allclose(layer(INPUTS), merged(INPUTS), rtol=1e-5, atol=1e-5)
    gradient = nnx.grad(lambda model: jnp.sum(model(INPUTS) ** 2))(layer)
    assert gradient[place]["scale"][...] != 0


def test_on_a_mesh_a_batch_gives_the_same():
    layer = snn.GatedAttention(
        2, 8, gate_kernel_init=NORMAL, elementwise=True, rngs=nnx.Rngs(0),
        attention_fn=snn.dot_product_sigmoid_attention,
    )  # fmt: skip
    expected = layer(INPUTS, is_causal=True)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        placed = jax.device_put(INPUTS, NamedSharding(mesh, P("d")))
        model = nnx.merge(*jax.device_put(nnx.split(layer), NamedSharding(mesh, P())))
        found = model(placed, is_causal=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.sharding.spec[0] == "d"
