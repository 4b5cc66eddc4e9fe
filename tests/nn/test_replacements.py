"""What is put in place of a module's linear layers is called, and learns.

The oracle of each replacement is the module itself, whose linear layers have the kernels and
biases that the replacement amounts to.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from tests.nn.models import IMAGE, ROWS

# name: (the module, its inputs, its linear layers)
MODULES = {
    "MLP": (
        lambda **o: snn.MLP(8, 16, 3, depth=4, norm="layer", residual=True, **o),
        ROWS,
        ("first.linear", "stack.linear", "last"),
    ),
    "MLP of one layer": (
        lambda **o: snn.MLP(8, 16, 3, depth=1, **o),
        ROWS,
        ("first.linear", "last"),
    ),
    "SigmoidNeuron": (lambda **o: snn.SigmoidNeuron(8, **o), ROWS, ("linear",)),
    "MultiLabelHead": (lambda **o: snn.MultiLabelHead(8, 3, **o), ROWS, ("linear",)),
    "SqueezeExcite": (
        lambda **o: snn.SqueezeExcite(8, reduction=2, use_bias=True, **o),
        IMAGE,
        ("squeeze", "excite"),
    ),
    "SoftSwitch": (lambda **o: snn.SoftSwitch(8, 4, **o), ROWS, ("gate", "on", "off")),
    "Highway": (lambda **o: snn.Highway(8, **o), ROWS, ("transform", "gate")),
}


def lora(inputs, outputs, rngs):
    options = {"b_initializer": nnx.initializers.normal(0.3), "rngs": rngs}
    return nnx.LoRALinear(inputs, outputs, lora_rank=2, **options)


def lora_around_another(inputs, outputs, rngs):
    layer = nnx.Linear(inputs, outputs, rngs=rngs)
    options = {"b_initializer": nnx.initializers.normal(0.3), "rngs": rngs}
    return nnx.LoRA(inputs, 2, outputs, base_module=layer, **options)


def without_bias(inputs, outputs, rngs):
    return nnx.Linear(inputs, outputs, use_bias=False, rngs=rngs)


class Doubled(nnx.Linear):
    def __call__(self, inputs):
        return 2 * super().__call__(inputs)


def doubled(inputs, outputs, rngs):
    return Doubled(inputs, outputs, rngs=rngs)


class Quantised(nnx.Module):
    """Eight bits of each weight, and a scale that learns."""

    def __init__(self, inputs, outputs, rngs):
        kernel = jax.random.randint(rngs.params(), (inputs, outputs), -127, 128, jnp.int8)
        self.codes = nnx.Variable(kernel)
        self.scale = nnx.Param(jnp.full((outputs,), 0.5 / 127))

    def __call__(self, inputs):
        return inputs @ (self.codes[...].astype(inputs.dtype) * self.scale[...])


REPLACEMENTS = {
    "LoRALinear": lora,
    "LoRA": lora_around_another,
    "without bias": without_bias,
    "a subclass": doubled,
    "quantised": Quantised,
}


def amounts_to(layer):
    """Kernel and bias of a replacement of one layer or of a stack."""
    match layer:
        case nnx.LoRALinear():
            return layer.kernel + layer.lora.lora_a @ layer.lora.lora_b, layer.bias[...]
        case nnx.LoRA():
            base = layer.base_module
            return base.kernel + layer.lora_a @ layer.lora_b, base.bias[...]
        case Doubled():
            return 2 * layer.kernel, 2 * layer.bias
        case Quantised():
            return layer.codes.astype(jnp.float32) * layer.scale[..., None, :], 0
        case _:
            return layer.kernel[...], 0


def linear_at(module, place):
    *path, name = place.split(".")
    for step in path:
        module = getattr(module, step)
    return module, name


def in_place_of(old, build, rngs):
    """A replacement of one layer or of a stack."""
    make = functools.partial(build, *old.kernel.shape[-2:])
    return make(rngs) if old.kernel.ndim == 2 else nnx.vmap(make)(rngs.split(len(old.kernel)))


def replaced(name, replacement, **options):
    """The module with all its linear layers replaced, and with what they amount to."""
    make, inputs, places = MODULES[name]
    model, merged = (make(rngs=nnx.Rngs(0), **options) for _ in range(2))
    for seed, place in enumerate(places):
        owner, attribute = linear_at(model, place)
        old = getattr(owner, attribute)
        new = in_place_of(old, REPLACEMENTS[replacement], nnx.Rngs(seed))
        setattr(owner, attribute, new)
        kernel, bias = amounts_to(new)
        layer = getattr(*linear_at(merged, place))
        layer.kernel[...] = kernel
        layer.bias[...] = jnp.broadcast_to(bias, layer.bias.shape)
    return model, merged, jnp.asarray(inputs)


def value_and_gradients(model, inputs, of=nnx.Param):
    graph, parameters, rest = nnx.split(model, of, ...)

    def loss(parameters):
        outputs = nnx.merge(graph, parameters, rest, copy=True)(inputs)
        return jnp.sum(jnp.sin(3 * outputs.astype(jnp.float32))), outputs

    (_, outputs), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(parameters)
    return outputs, gradients


@pytest.mark.slow
@pytest.mark.sampled(48)
@pytest.mark.parametrize("replacement", REPLACEMENTS)
@pytest.mark.parametrize("name", MODULES)
def test_what_replaces_a_linear_layer_is_called_and_learns(name, replacement):
    model, merged, inputs = replaced(name, replacement)
    found, gradients = value_and_gradients(model, inputs)
    expected, of_merged = value_and_gradients(merged, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    own = dict(nnx.to_flat_state(gradients))
    assert own.keys() == {
        path for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Param)
    }
    assert all(jnp.any(gradient[...] != 0) for gradient in own.values())
    if replacement != "LoRALinear":
        return
    # The chain rule: W + A B has the gradient G, hence A has G B^T, and B has A^T G.
    for place in MODULES[name][2]:
        layer = getattr(*linear_at(model, place))
        a, b = layer.lora.lora_a[...], layer.lora.lora_b[...]
        of_layer, of_kernel = gradients, of_merged
        for step in place.split("."):
            of_layer, of_kernel = of_layer[step], of_kernel[step]
        g = of_kernel["kernel"][...]
        of_lora = of_layer["lora"]
        np.testing.assert_allclose(of_lora["lora_a"][...], g @ b.mT, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(of_lora["lora_b"][...], a.mT @ g, rtol=1e-3, atol=1e-4)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", MODULES)
def test_lora_parameters_alone_are_trained(name):
    """The filter of a fine-tuning run sees them, and only them."""
    model, _, inputs = replaced(name, "LoRALinear")
    _, gradients = value_and_gradients(model, inputs, nnx.LoRAParam)
    paths = {path for path, _ in nnx.to_flat_state(gradients)}
    assert {path[-1] for path in paths} == {"lora_a", "lora_b"}
    assert len(paths) == 2 * len(MODULES[name][2])


@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", MODULES)
def test_lora_of_float32_on_a_network_of_bfloat16(name):
    """Only the stack's layers give float32 to begin with: the scan goes on in it."""
    options = {"param_dtype": jnp.bfloat16}
    make, inputs, places = MODULES[name]
    model = make(rngs=nnx.Rngs(0), **options)
    reference = make(rngs=nnx.Rngs(0), **options)
    owner, attribute = linear_at(model, places[-2 if name == "MLP" else -1])
    old = getattr(owner, attribute)
    new = in_place_of(old, lora, nnx.Rngs(0))
    new.kernel[...], new.bias[...] = old.kernel.astype(jnp.float32), old.bias.astype(jnp.float32)
    new.lora.lora_b[...] = jnp.zeros_like(new.lora.lora_b[...])
    setattr(owner, attribute, new)
    x = jnp.asarray(inputs, jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):
        found, expected = nnx.jit(lambda x, *models: [m(x) for m in models])(x, model, reference)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected.astype(jnp.float32), rtol=0.05, atol=0.05)


def test_a_replacement_of_the_stack_that_is_not_stacked():
    model = snn.MLP(8, 16, 3, depth=4, rngs=nnx.Rngs(0))
    model.stack.linear = nnx.LoRA(16, 2, 16, base_module=model.stack.linear, rngs=nnx.Rngs(1))
    with pytest.raises(ValueError, match=r"'stack' must have its layers along .*'linear.lora_a'"):
        model(ROWS)


@pytest.mark.slice
def test_what_a_layer_of_the_stack_writes_is_kept():
    class Counting(nnx.Linear):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.calls = nnx.Variable(jnp.array(0))

        def __call__(self, x):
            self.calls[...] += 1
            self.largest = nnx.Intermediate(jnp.max(x))
            return super().__call__(x)

    model = snn.MLP(8, 16, 3, depth=4, rngs=nnx.Rngs(0))
    make = nnx.vmap(lambda rngs: Counting(16, 16, rngs=rngs))
    model.stack.linear = make(nnx.Rngs(1).split(3))
    model(ROWS)
    model(ROWS)
    np.testing.assert_array_equal(model.stack.linear.calls[...], [2, 2, 2])
    assert model.stack.linear.largest.shape == (3,)
