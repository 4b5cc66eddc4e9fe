"""Feed-forward modules against their formulas in NumPy."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.nnx.nn import dtypes

import sigjax.nn as snn
from sigjax.losses import sigmoid_binary_cross_entropy

X = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


def linear(layer, x):
    bias = 0 if layer.bias is None else np.float64(layer.bias[...])
    return np.float64(x) @ np.float64(layer.kernel[...]) + bias


def kernels_of_the_stack(model):
    stack = model.stack.linear
    return zip(np.float64(stack.kernel[...]), np.float64(stack.bias[...]), strict=True)


@pytest.mark.parametrize("residual", [False, True])
def test_mlp(residual):
    model = snn.MLP(
        8, 5, 3, depth=4, residual=residual, bias_init=nnx.initializers.normal(1), rngs=nnx.Rngs(0)
    )
    hidden = sigmoid(linear(model.first.linear, X))
    for kernel, bias in kernels_of_the_stack(model):
        hidden = sigmoid(hidden @ kernel + bias) + (hidden if residual else 0)
    np.testing.assert_allclose(model(X), linear(model.last, hidden), rtol=1e-5, atol=1e-5)


@pytest.mark.slice
def test_the_layers_of_an_mlp_are_drawn_apart():
    model = snn.MLP(8, 5, 3, depth=4, rngs=nnx.Rngs(0))
    first, second, third = (kernel for kernel, _ in kernels_of_the_stack(model))
    assert not np.allclose(first, second)
    assert not np.allclose(second, third)


def test_an_mlp_is_traced_as_large_whatever_its_depth():
    def equations(depth):
        graph, state = nnx.split(snn.MLP(8, 5, 3, depth=depth, rngs=nnx.Rngs(0)))
        jaxpr = jax.make_jaxpr(jax.grad(lambda s: nnx.merge(graph, s)(X).sum()))(state)
        return str(jaxpr).count("\n")

    assert equations(3) == equations(300)


def test_batch_statistics_of_an_mlp():
    model = snn.MLP(8, 5, 3, depth=3, norm="batch", rngs=nnx.Rngs(0))
    before = np.array(model.stack.norm.mean[...])
    model(X)
    after = np.array(model.stack.norm.mean[...])
    assert after.shape == (2, 5)
    assert np.all(before == 0)
    assert np.all(after != 0)
    model.eval()
    first = model(X)
    np.testing.assert_array_equal(model(X), first)
    np.testing.assert_array_equal(model.stack.norm.mean[...], after)


def test_sigmoid_neuron():
    neuron = snn.SigmoidNeuron(8, prior=0.9, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(neuron(X), 0.9, rtol=1e-6)
    neuron = snn.SigmoidNeuron(8, kernel_init=nnx.initializers.normal(1), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(neuron(X), sigmoid(linear(neuron.linear, X)[:, 0]), rtol=1e-5)
    np.testing.assert_allclose(neuron.logits(X), linear(neuron.linear, X)[:, 0], rtol=1e-5)


def test_multi_label_head():
    prior = [0.5, 0.1, 0.01]
    head = snn.MultiLabelHead(8, 3, prior=prior, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(head.probabilities(np.zeros(8, np.float32)), prior, rtol=1e-6)
    np.testing.assert_allclose(head(X), linear(head.linear, X), rtol=1e-5, atol=1e-6)
    probabilities = np.asarray(head.probabilities(X))
    np.testing.assert_array_equal(head.predict(X), probabilities >= 0.5)
    thresholds = np.array([0.6, 0.1, 0.001], np.float32)
    np.testing.assert_array_equal(head.predict(X, thresholds), probabilities >= thresholds)


def test_the_prior_is_the_first_loss():
    labels = jnp.arange(100)[:, None] < jnp.array([50, 10, 1])
    head = snn.MultiLabelHead(8, 3, prior=[0.5, 0.1, 0.01], rngs=nnx.Rngs(0))
    loss = sigmoid_binary_cross_entropy(head(jnp.zeros((100, 8))), labels).mean(axis=0)
    np.testing.assert_allclose(loss, [0.693147, 0.325083, 0.056002], rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7, 16), (2, 4, 5, 16), (2, 3, 4, 5, 16)])
def test_squeeze_excite(shape):
    block = snn.SqueezeExcite(16, reduction=4, rngs=nnx.Rngs(0))
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    mean = x.reshape(2, -1, 16).mean(axis=1)
    gates = sigmoid(linear(block.excite, np.maximum(linear(block.squeeze, mean), 0)))
    scaled, found = block(x, return_gates=True)
    np.testing.assert_allclose(found, gates, rtol=1e-5)
    wide = gates.reshape(2, *(1,) * (len(shape) - 2), 16)
    np.testing.assert_allclose(scaled, x * wide, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("features", "reduction"), [(64, 16), (256, 16), (32, 2)])
def test_parameters_of_squeeze_excite(features, reduction):
    """Hu et al. 2018, table 10: 2 C^2 / r."""
    block = snn.SqueezeExcite(features, reduction=reduction, rngs=nnx.Rngs(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(block, nnx.Param)))
    assert count == 2 * features**2 // reduction


def test_squeeze_excite_over_chosen_axes():
    block = snn.SqueezeExcite(16, reduction=4, spatial_axes=(0, 1), rngs=nnx.Rngs(0))
    x = np.random.default_rng(1).normal(size=(4, 5, 16)).astype(np.float32)
    batched = snn.SqueezeExcite(16, reduction=4, rngs=nnx.Rngs(0))(x[None])
    np.testing.assert_allclose(block(x), batched[0], rtol=1e-6)


@pytest.mark.parametrize("gate_features", [1, 3])
def test_soft_switch(gate_features):
    layer = snn.SoftSwitch(8, 3, gate_features=gate_features, rngs=nnx.Rngs(0))
    gate = sigmoid(linear(layer.gate, X))
    blend, found = layer(X, return_gates=True)
    expected = gate * linear(layer.on, X) + (1 - gate) * linear(layer.off, X)
    np.testing.assert_allclose(found, gate, rtol=1e-5)
    np.testing.assert_allclose(blend, expected, rtol=1e-5, atol=1e-5)


def test_highway():
    layer = snn.Highway(8, transform_bias=-1.0, rngs=nnx.Rngs(0))
    gate = sigmoid(linear(layer.gate, X))
    blend, found = layer(X, return_gates=True)
    expected = gate * np.maximum(linear(layer.transform, X), 0) + (1 - gate) * X
    np.testing.assert_allclose(found, gate, rtol=1e-5)
    np.testing.assert_allclose(blend, expected, rtol=1e-5, atol=1e-6)


def test_a_gradient_passes_through_fifty_highways_and_not_through_fifty_sigmoids():
    def reach(layer):
        x = jnp.asarray(X[0])
        jacobian = jax.jit(jax.jacrev(layer))(x)
        return float(jnp.linalg.norm(jacobian))

    @nnx.split_rngs(splits=50)
    @nnx.vmap
    def fifty_highways(rngs):
        return snn.Highway(8, rngs=rngs)

    one, states = nnx.split(fifty_highways(nnx.Rngs(0)))
    graph, state = nnx.split(snn.MLP(8, 8, 8, depth=50, rngs=nnx.Rngs(0)))

    def through(x):
        return jax.lax.scan(lambda x, layer: (nnx.merge(one, layer)(x), None), x, states)[0]

    assert reach(through) > 1e-3
    assert reach(lambda x: nnx.merge(graph, state)(x)) < 1e-20


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_stateful_activation_is_one_for_each_layer(depth):
    given = nnx.PReLU(0.25)
    model = snn.MLP(8, 5, 3, depth=depth, activation=given, rngs=nnx.Rngs(0))
    slopes = np.linspace(0.1, 0.7, depth).astype(np.float32)
    assert float(model.first.activation.negative_slope[...]) == 0.25
    model.first.activation.negative_slope[...] = jnp.asarray(slopes[0])
    if depth > 1:
        np.testing.assert_array_equal(model.stack.activation.negative_slope[...], 0.25)
        model.stack.activation.negative_slope[...] = jnp.asarray(slopes[1:])
    hidden = linear(model.first.linear, X)
    hidden = np.where(hidden >= 0, hidden, slopes[0] * hidden)
    layers = kernels_of_the_stack(model) if depth > 1 else ()
    for (kernel, bias), slope in zip(layers, slopes[1:], strict=True):
        hidden = hidden @ kernel + bias
        hidden = np.where(hidden >= 0, hidden, slope * hidden)
    np.testing.assert_allclose(model(X), linear(model.last, hidden), rtol=1e-5, atol=1e-5)
    gradient = nnx.jit(nnx.grad(lambda model: jnp.sum(model(X) ** 2)))(model)
    found = [gradient["first"]["activation"]["negative_slope"][...]]
    if depth > 1:
        found += list(gradient["stack"]["activation"]["negative_slope"][...])
    assert len(found) == depth
    assert all(slope != 0 for slope in found)
    assert float(given.negative_slope[...]) == 0.25


def test_layers_drop_units_apart_and_anew():
    """An activation with random numbers has its own for each layer and each call."""
    dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    options = {"kernel_init": lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)}
    model = snn.MLP(64, 64, 64, depth=3, activation=dropout, rngs=nnx.Rngs(1), **options)
    ones = jnp.ones((1, 64))
    first, second = (np.asarray(model(ones))[0] for _ in range(2))
    # The product of three masks of 0 and 2: were they one mask, half of the units would be left.
    assert set(first) <= {0.0, 8.0}
    assert 0 < np.count_nonzero(first) < 20
    assert np.any(first != second)
    np.testing.assert_array_equal(model.stack.activation.rngs.count[...], [2, 2])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_thresholds_are_compared_in_float32(dtype):
    """sigma(8) = .99966; in bfloat16 .999 is 1, and its logit infinite."""
    head = snn.MultiLabelHead(1, 1, dtype=dtype, rngs=nnx.Rngs(0))
    head.linear.kernel[...] = jnp.ones((1, 1))
    logits = np.array([[6.875], [6.9375], [8.0]])  # the logit of .999 is 6.9068
    assert head(logits).dtype == dtype
    np.testing.assert_array_equal(head.predict(logits, 0.999), [[False], [True], [True]])
    np.testing.assert_array_equal(head.predict(logits, [0.0]), np.ones((3, 1), bool))
    np.testing.assert_array_equal(head.predict(logits, np.float64(1)), np.zeros((3, 1), bool))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32])
def test_squeeze_excite_averages_whole_numbers_as_numbers(dtype):
    block = snn.SqueezeExcite(16, reduction=4, rngs=nnx.Rngs(0))
    image = np.random.default_rng(1).integers(0, 2, (2, 4, 5, 16))
    expected = block(np.float32(image), return_gates=True)
    found = block(image.astype(dtype), return_gates=True)
    for ours, as_numbers in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, as_numbers)
    narrow = snn.SqueezeExcite(16, reduction=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert narrow(image.astype(dtype)).dtype == jnp.bfloat16


def test_squeeze_features():
    """Any number of them, and of spatial axes counted from the end."""
    options = {"squeeze_features": 3, "use_bias": True, "bias_init": nnx.initializers.normal(1)}
    block = snn.SqueezeExcite(16, spatial_axes=-2, rngs=nnx.Rngs(0), **options)
    assert block.squeeze.kernel.shape == (16, 3)
    x = np.random.default_rng(1).normal(size=(2, 7, 16)).astype(np.float32)
    gates = sigmoid(linear(block.excite, np.maximum(linear(block.squeeze, x.mean(1)), 0)))
    np.testing.assert_allclose(block(x), x * gates[:, None], rtol=1e-5, atol=1e-6)


# module: what it is made with beside Linear's arguments
MADE_OF_LINEAR = {
    "MLP": lambda **o: snn.MLP(8, 4, 4, depth=3, **o),
    "MLP, layer norm": lambda **o: snn.MLP(8, 4, 4, depth=3, norm="layer", **o),
    "SigmoidNeuron": lambda **o: snn.SigmoidNeuron(8, **o),
    "MultiLabelHead": lambda **o: snn.MultiLabelHead(8, 4, **o),
    "SqueezeExcite": lambda **o: snn.SqueezeExcite(8, reduction=2, **o),
    "SoftSwitch": lambda **o: snn.SoftSwitch(8, 4, **o),
    "Highway": lambda **o: snn.Highway(8, **o),
}


def linear_layers(model):
    return [node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.Linear)]


@pytest.mark.parametrize("name", MADE_OF_LINEAR)
def test_all_arguments_of_linear_reach_every_layer(name):
    def twos(key, shape, dtype):
        return jnp.full(shape, 2, dtype)

    def product(*args, **kwargs):
        return jax.lax.dot_general(*args, **kwargs)

    def promote(arrays, *, dtype):
        return dtypes.promote_dtype(arrays, dtype=dtype)

    kept = {
        "use_bias": True,
        "dtype": jnp.bfloat16,
        "param_dtype": jnp.float16,
        "precision": jax.lax.Precision.HIGHEST,
        "dot_general": product,
        "promote_dtype": promote,
        "preferred_element_type": jnp.float32,
    }
    drawn = {
        "kernel_init": twos,
        "bias_init": twos,
        "kernel_metadata": {"of": "a kernel"},
        "bias_metadata": {"of": "a bias"},
    }
    parameters = inspect.signature(nnx.Linear.__init__).parameters.values()
    arguments = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"rngs"}
    assert arguments == {*kept, *drawn}
    model = MADE_OF_LINEAR[name](rngs=nnx.Rngs(0), **kept, **drawn)
    layers = linear_layers(model)
    assert layers
    for layer in layers:
        for option, value in kept.items():
            assert getattr(layer, option) == value, option
        assert layer.kernel.get_metadata("of") == "a kernel"
        assert layer.bias.get_metadata("of") == "a bias"
        assert jnp.all(layer.kernel[...] == 2)
        gate_of_a_highway = name == "Highway" and layer is model.gate
        assert jnp.all(layer.bias[...] == (-2 if gate_of_a_highway else 2))
        assert layer.kernel.dtype == layer.bias.dtype == jnp.float16
    without = MADE_OF_LINEAR[name](rngs=nnx.Rngs(0), use_bias=False)
    kept_biases = [layer.bias is not None for layer in linear_layers(without)]
    assert sum(kept_biases) == (name == "Highway")


def test_arguments_of_the_normalisations():
    options = {"momentum": 0.5, "epsilon": 0.1, "use_scale": False, "axis_name": None}
    model = snn.MLP(
        8, 5, 3, depth=3, norm="batch", norm_options=options, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
    )
    for norm in (model.first.norm, model.stack.norm):
        assert (norm.momentum, norm.epsilon, norm.scale) == (0.5, 0.1, None)
        assert norm.dtype == jnp.bfloat16


def test_a_single_gate_is_not_split_over_devices():
    mesh = jax.make_mesh((2, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
    metadata = {"kernel_metadata": {"out_sharding": ("data", "model")}}
    with jax.set_mesh(mesh):
        layer = snn.SoftSwitch(8, 4, rngs=nnx.Rngs(0), **metadata)
    assert layer.gate.kernel.get_metadata("out_sharding") == ("data", None)
    assert layer.on.kernel.get_metadata("out_sharding") == ("data", "model")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: snn.MLP(2, 2, 2, depth=0, rngs=r), "'depth' must be at least 1, got 0"),
        (
            lambda r: snn.MLP(2, 2, 2, depth=1, norm_options={"epsilon": 1}, rngs=r),
            "must come with 'norm'",
        ),
        (lambda r: snn.SqueezeExcite(10, reduction=3, rngs=r), "'reduction' must divide the 10"),
        (lambda r: snn.SqueezeExcite(10, reduction=0, rngs=r), "'reduction' must be at least 1"),
        (lambda r: snn.SqueezeExcite(8, rngs=r), "the 8 features, got 16; 'squeeze_features'"),
        (lambda r: snn.SqueezeExcite(0, rngs=r), "'features' must be at least 1, got 0"),
        (lambda r: snn.SqueezeExcite(8, squeeze_features=0, rngs=r), "'squeeze_features' must be"),
        (lambda r: snn.SqueezeExcite(32, spatial_axes=(), rngs=r), "'spatial_axes' must name"),
        (lambda r: snn.SoftSwitch(2, 3, gate_features=2, rngs=r), "'gate_features' must be 1 or"),
        (
            lambda r: snn.SigmoidNeuron(2, prior=0.5, use_bias=False, rngs=r),
            "'prior' must be None with a bias .* and use_bias=False",
        ),
        (
            lambda r: snn.MultiLabelHead(2, 3, prior=0.5, bias_init=jnp.zeros, rngs=r),
            "'prior' must be None with a bias .* and bias_init",
        ),
        (lambda r: snn.SigmoidNeuron(2, prior=1.0, rngs=r), "strictly between 0 and 1"),
        (lambda r: snn.MultiLabelHead(2, 3, prior=[0.1, 0.2], rngs=r), "one number or 3"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make(nnx.Rngs(0))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2, 8), {}, r"must have spatial dimensions .* got shape \(2, 8\)"),
        ((2, 5, 6), {}, r"'inputs' must have 8 features .* got shape \(2, 5, 6\)"),
        ((2, 5, 8), {"spatial_axes": (1, 2)}, r"other than the last, got \(1, 2\) for shape"),
        ((2, 5, 8), {"spatial_axes": (1, -2)}, r"'spatial_axes' must be different axes"),
        ((2, 5, 8), {"spatial_axes": (3,)}, r"'spatial_axes' must be different axes"),
    ],
)
def test_inputs_that_squeeze_excite_cannot_take(shape, options, message):
    block = snn.SqueezeExcite(8, reduction=2, rngs=nnx.Rngs(0), **options)
    with pytest.raises(ValueError, match=message):
        block(jnp.ones(shape))


def test_numbers_that_squeeze_excite_cannot_take():
    block = snn.SqueezeExcite(8, reduction=2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="'inputs' must be real, got dtype complex64"):
        block(jnp.ones((2, 3, 8), jnp.complex64))
