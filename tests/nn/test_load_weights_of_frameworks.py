"""Weights of linen, nnx, torch and Equinox give here what they give there."""

import importlib.util
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import sigjax.nn as snn
from tests.nn.weights import (
    HIDDEN,
    IN,
    KEY,
    OUT,
    X,
    drawn,
    gru,
    lstm,
    mlp,
    same,
    sigmoid,
    torch_gru_step,
    torch_lstm_step,
    torch_rnn,
    torch_weights,
    variables_of,
)

TORCH = {"GRUCell": (gru, 3, torch_gru_step, 1), "LSTMCell": (lstm, 4, torch_lstm_step, 2)}
LINEN = {
    "GRUCell": (gru, linen.GRUCell),
    "LSTMCell": (lstm, linen.LSTMCell),
    "OptimizedLSTMCell": (lstm, linen.OptimizedLSTMCell),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", LINEN)
def test_recurrent_cells_of_linen(name):
    make, peer = LINEN[name]
    module = linen.RNN(peer(HIDDEN))
    variables = variables_of(module, X)
    ours = snn.load_weights(snn.RNN(make()), variables, layout="linen")
    same(ours(X), module.apply(variables, X))


def test_both_directions_of_linen():
    module = linen.Bidirectional(*(linen.RNN(linen.GRUCell(HIDDEN)) for _ in range(2)))
    variables = variables_of(module, X)
    ours = snn.Bidirectional(snn.RNN(gru()), snn.RNN(gru()))
    same(
        snn.load_weights(ours, variables, layout="linen")(jnp.asarray(X)),
        module.apply(variables, X),
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("make", "peer"),
    [
        (lambda: gru(hidden_bias=False), nnx.GRUCell),
        (lstm, nnx.LSTMCell),
        (lstm, nnx.OptimizedLSTMCell),
    ],
)
@pytest.mark.parametrize("form", [nnx.state, lambda rnn: nnx.to_pure_dict(nnx.state(rnn))])
def test_recurrent_cells_of_nnx(make, peer, form):
    theirs = nnx.RNN(peer(IN, HIDDEN, bias_init=nnx.initializers.normal(1), rngs=nnx.Rngs(0)))
    ours = snn.load_weights(snn.RNN(make()), form(theirs), layout="nnx")
    same(ours(X), theirs(jnp.asarray(X)))


@pytest.mark.parametrize("suffix", ["_l0", "_l1", ""])
@pytest.mark.parametrize("name", TORCH)
def test_recurrent_cells_of_torch(name, suffix):
    make, gates, step, states = TORCH[name]
    weights = torch_weights(gates, suffix)
    ours = snn.load_weights(snn.RNN(make()), weights, layout="torch")
    same(ours(X), torch_rnn(weights, step, states, X, suffix))


@pytest.mark.parametrize("name", TORCH)
def test_both_directions_of_torch(name):
    make, gates, step, states = TORCH[name]
    weights = torch_weights(gates) | torch_weights(gates, "_l0_reverse")
    ours = snn.Bidirectional(snn.RNN(make()), snn.RNN(make()))
    snn.load_weights(ours, weights, layout="torch")
    forwards = torch_rnn(weights, step, states, X)
    backwards = torch_rnn(weights, step, states, X[:, ::-1], "_l0_reverse")[:, ::-1]
    same(ours(jnp.asarray(X)), np.concatenate([forwards, backwards], axis=-1))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("name", TORCH)
def test_recurrent_modules_of_torch_itself(name):
    import torch

    peer = {"GRUCell": torch.nn.GRU, "LSTMCell": torch.nn.LSTM}[name]
    theirs = peer(IN, HIDDEN, batch_first=True, bidirectional=True)
    ours = snn.Bidirectional(*(snn.RNN(TORCH[name][0]()) for _ in range(2)))
    snn.load_weights(ours, theirs.state_dict(), layout="torch")
    same(ours(jnp.asarray(X)), theirs(torch.tensor(X))[0].detach().numpy())


def equinox_weights(module):
    equinox = pytest.importorskip("equinox")
    leaves = jax.tree_util.tree_leaves_with_path(equinox.filter(module, equinox.is_array))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", TORCH)
def test_recurrent_cells_of_equinox(name):
    equinox = pytest.importorskip("equinox")
    theirs = getattr(equinox.nn, name)(IN, HIDDEN, key=KEY)
    ours = snn.load_weights(TORCH[name][0](), equinox_weights(theirs), layout="equinox")
    h, c = jnp.array(drawn(2, HIDDEN)), jnp.array(drawn(2, HIDDEN))
    if name == "GRUCell":
        same(ours(h, X[:, 0])[1], jax.vmap(theirs)(X[:, 0], h))
    else:
        same(ours((c, h), X[:, 0])[1], jax.vmap(theirs)(X[:, 0], (h, c))[0])


# Networks


class Network(linen.Module):
    @linen.compact
    def __call__(self, x):
        for _ in range(3):
            x = linen.Dense(HIDDEN)(x)
            x = jnp.tanh(linen.BatchNorm(use_running_average=True)(x))
        return linen.Dense(OUT)(x)


def test_networks_of_linen():
    variables = variables_of(Network(), X)
    ours = mlp(norm="batch")
    ours.eval()
    snn.load_weights(ours, variables, layout="linen")
    same(ours(X), Network().apply(variables, X))


def test_networks_of_equinox():
    equinox = pytest.importorskip("equinox")
    theirs = equinox.nn.MLP(IN, OUT, HIDDEN, 3, jnp.tanh, key=KEY)
    ours = snn.load_weights(mlp(), equinox_weights(theirs), layout="equinox")
    same(ours(X[0]), jax.vmap(theirs)(X[0]))


@pytest.mark.parametrize("beginning", ["", "model.net."])
@pytest.mark.parametrize("norm", ["batch", "layer", None])
def test_networks_of_torch(norm, beginning):
    """Sequential(Linear, norm, Tanh, ...) of 11 modules, after 9 of which comes the 10."""
    x, weights = np.float64(X), {}

    def layer(number, inputs, outputs):
        nonlocal x
        kernel, bias = drawn(outputs, inputs), drawn(outputs)
        weights[f"{beginning}{number}.weight"], weights[f"{beginning}{number}.bias"] = kernel, bias
        x = x @ kernel.T + bias

    def normalise(number):
        nonlocal x
        names = ("weight", "bias") + (("running_mean", "running_var") if norm == "batch" else ())
        numbers = [abs(drawn(HIDDEN)) for _ in names]
        weights.update({f"{beginning}{number}.{n}": v for n, v in zip(names, numbers, strict=True)})
        if norm == "batch":
            weights[f"{beginning}{number}.num_batches_tracked"] = np.int64(7)
        mean, var = numbers[2:] or (x.mean(-1, keepdims=True), x.var(-1, keepdims=True))
        x = (x - mean) / np.sqrt(var + 1e-5) * numbers[0] + numbers[1]

    for index in range(3):
        layer(3 * index, HIDDEN if index else IN, HIDDEN)
        if norm:
            normalise(3 * index + 1)
        x = np.tanh(x)
    layer(10, HIDDEN, OUT)
    ours = mlp(norm=norm, norm_options={"epsilon": 1e-5} if norm else {})
    ours.eval()
    snn.load_weights(ours, weights, layout="torch")
    np.testing.assert_allclose(ours(X), x, rtol=1e-4, atol=1e-4)


def test_networks_of_nnx():
    widths = [IN, HIDDEN, HIDDEN, HIDDEN, OUT]
    layers = [
        nnx.Linear(*pair, rngs=nnx.Rngs(index))
        for index, pair in enumerate(itertools.pairwise(widths))
    ]
    theirs = nnx.Sequential(*(f for layer in layers for f in (layer, jnp.tanh)))
    ours = snn.load_weights(mlp(), nnx.state(theirs), layout="nnx")
    same(jnp.tanh(ours(X)), theirs(jnp.asarray(X)))


def test_squeeze_excite_of_torch():
    """torchvision's: two convolutions of one pixel, fc1 and fc2."""
    weights = {
        "fc1.weight": drawn(2, 6, 1, 1),
        "fc1.bias": drawn(2),
        "fc2.weight": drawn(6, 2, 1, 1),
        "fc2.bias": drawn(6),
    }
    image = drawn(2, 3, 4, 6)
    hidden = image.mean((1, 2)) @ weights["fc1.weight"][..., 0, 0].T + weights["fc1.bias"]
    gates = sigmoid(
        np.maximum(hidden, 0) @ weights["fc2.weight"][..., 0, 0].T + weights["fc2.bias"]
    )
    ours = snn.SqueezeExcite(6, squeeze_features=2, use_bias=True, rngs=nnx.Rngs(0))
    snn.load_weights(ours, weights, layout="torch")
    same(ours(image), image * gates[:, None, None])
