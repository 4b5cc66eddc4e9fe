"""Feed-forward modules against their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

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

    highways = [snn.Highway(8, rngs=nnx.Rngs(seed)) for seed in range(50)]
    plain = snn.MLP(8, 8, 8, depth=50, rngs=nnx.Rngs(0))
    graph, state = nnx.split(plain)

    def through(x):
        for layer in highways:
            x = layer(x)
        return x

    assert reach(through) > 1e-3
    assert reach(lambda x: nnx.merge(graph, state)(x)) < 1e-20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: snn.MLP(2, 2, 2, depth=0, rngs=r), "'depth' must be at least 1, got 0"),
        (lambda r: snn.SqueezeExcite(10, reduction=3, rngs=r), "'reduction' must divide the 10"),
        (lambda r: snn.SoftSwitch(2, 3, gate_features=2, rngs=r), "'gate_features' must be 1 or"),
        (
            lambda r: snn.SigmoidNeuron(2, prior=0.5, use_bias=False, rngs=r),
            "'prior' sets the bias",
        ),
        (lambda r: snn.SigmoidNeuron(2, prior=1.0, rngs=r), "strictly between 0 and 1"),
        (lambda r: snn.MultiLabelHead(2, 3, prior=[0.1, 0.2], rngs=r), "one number or 3"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make(nnx.Rngs(0))


def test_no_space_to_average_over():
    with pytest.raises(ValueError, match=r"must have spatial dimensions .* got shape \(2, 8\)"):
        snn.SqueezeExcite(8, reduction=2, rngs=nnx.Rngs(0))(jnp.ones((2, 8)))
