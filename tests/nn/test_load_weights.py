"""Weights of linen, nnx, torch and Equinox give here what they give there."""

import importlib.util
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import linen, nnx

import sigjax.nn as snn

IN, HIDDEN, OUT = 3, 4, 2
RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 5, IN)).astype(np.float32)
KEY = jax.random.key(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def drawn(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def gru(**options):
    return snn.GRUCell(IN, HIDDEN, **{"hidden_bias": True, "rngs": nnx.Rngs(1), **options})


def lstm(**options):
    return snn.LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(1), **options)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def variables_of(module, *inputs):
    """Linen's, all of them random: its biases start at 0."""
    leaves, tree = jax.tree.flatten(module.init(KEY, *inputs))
    return jax.tree.unflatten(tree, [abs(drawn(*leaf.shape)) for leaf in leaves])


# Torch's documented equations, in NumPy


def torch_weights(gates, suffix="_l0"):
    shapes = {"weight_ih": (IN,), "weight_hh": (HIDDEN,), "bias_ih": (), "bias_hh": ()}
    return {f"{name}{suffix}": drawn(gates * HIDDEN, *s) for name, s in shapes.items()}


def torch_rnn(weights, step, states, x, suffix="_l0"):
    ih, hh, b_ih, b_hh = (weights[f"{name}{suffix}"] for name in torch_weights(1, ""))
    state, outputs = (np.zeros((len(x), HIDDEN)),) * states, []
    for t in range(x.shape[1]):
        state = step(x[:, t] @ ih.T + b_ih, state[0] @ hh.T + b_hh, *state)
        outputs.append(state[0])
    return np.stack(outputs, axis=1)


def torch_gru_step(from_x, from_h, h):
    """torch.nn.GRU: r, z and n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = (1-z) n + z h."""
    (ir, iz, i_n), (hr, hz, hn) = (np.split(a, 3, axis=-1) for a in (from_x, from_h))
    z, n = sigmoid(iz + hz), np.tanh(i_n + sigmoid(ir + hr) * hn)
    return ((1 - z) * n + z * h,)


def torch_lstm_step(from_x, from_h, h, c):
    """torch.nn.LSTM: i, f, g, o; c' = f c + i g, h' = o tanh c'."""
    i, f, g, o = np.split(from_x + from_h, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


TORCH = {"GRUCell": (gru, 3, torch_gru_step, 1), "LSTMCell": (lstm, 4, torch_lstm_step, 2)}
LINEN = {
    "GRUCell": (gru, linen.GRUCell),
    "LSTMCell": (lstm, linen.LSTMCell),
    "OptimizedLSTMCell": (lstm, linen.OptimizedLSTMCell),
}


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


def mlp(**options):
    return snn.MLP(
        IN, HIDDEN, OUT, depth=3, **{"activation": jnp.tanh, "rngs": nnx.Rngs(1), **options}
    )


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


OURS = {
    "GRUCell": lambda seed, **o: snn.RNN(gru(rngs=nnx.Rngs(seed), **o)),
    "LSTMCell": lambda seed, **o: snn.RNN(snn.LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(seed), **o)),
    "MinGRU": lambda seed, **o: snn.MinGRU(IN, HIDDEN, rngs=nnx.Rngs(seed), **o),
    "MLP": lambda seed, **o: mlp(rngs=nnx.Rngs(seed), norm="batch", **o),
    "SqueezeExcite": lambda seed, **o: snn.SqueezeExcite(8, reduction=2, rngs=nnx.Rngs(seed), **o),
    "SoftSwitch": lambda seed, **o: snn.SoftSwitch(IN, OUT, rngs=nnx.Rngs(seed), **o),
    "Highway": lambda seed, **o: snn.Highway(IN, rngs=nnx.Rngs(seed), **o),
    "SigmoidNeuron": lambda seed, **o: snn.SigmoidNeuron(
        IN, kernel_init=nnx.initializers.normal(1), rngs=nnx.Rngs(seed), **o
    ),
    "MultiLabelHead": lambda seed, **o: snn.MultiLabelHead(IN, OUT, rngs=nnx.Rngs(seed), **o),
}


def learned(module):
    state = nnx.state(module, (nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): v[...] for path, v in nnx.to_flat_state(state)}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize("name", OURS)
def test_every_module_takes_its_own_weights(name):
    theirs, ours = OURS[name](1), OURS[name](2)
    snn.load_weights(ours, nnx.state(theirs), layout="nnx")
    assert_equal(learned(ours), learned(theirs))


@pytest.mark.parametrize("name", ["MinGRU", "SoftSwitch", "Highway", "MultiLabelHead"])
def test_modules_made_of_linear_layers_take_torchs(name):
    theirs, ours = OURS[name](1), OURS[name](2)
    weights = {n.replace("kernel", "weight"): np.asarray(a).T for n, a in learned(theirs).items()}
    snn.load_weights(ours, weights, layout="torch")
    assert_equal(learned(ours), learned(theirs))


# Names, dtypes, devices


def nested(flat):
    tree = {}
    for name, leaf in flat.items():
        *inside, last = name.split(".")
        node = tree
        for key in inside:
            node = node.setdefault(key, {})
        node[last] = leaf
    return tree


@pytest.mark.parametrize(
    "form",
    [
        lambda flat: {name.replace(".", "/"): leaf for name, leaf in flat.items()},
        nested,
        lambda flat: {"params": nested(flat)},
        lambda flat: {f"model.head.{name}": leaf for name, leaf in flat.items()},
        lambda flat: {"model": {f"rnn/cell.{name}": leaf for name, leaf in flat.items()}},
    ],
)
@pytest.mark.parametrize("make", [lstm, lambda: snn.RNN(lstm())])
def test_forms_of_names(make, form):
    theirs = lstm()
    expected = {name: array + 1 for name, array in learned(theirs).items()}
    flat = {name.replace("if_", "if"): array for name, array in expected.items()}
    ours = snn.load_weights(make(), form(flat), layout="linen")
    assert_equal(
        learned(getattr(ours, "cell", ours)), {n: a + 1 for n, a in learned(theirs).items()}
    )


class Tensor:
    """What this project uses of a torch tensor."""

    def __init__(self, array):
        self.array, self.dtype = array, f"torch.{array.dtype}"

    def detach(self):
        return SimpleNamespace(dtype=self.dtype, float=self.float, numpy=self.numpy)

    def float(self):
        return Tensor(np.float32(self.array))

    def numpy(self):
        assert "bfloat16" not in self.dtype, "torch refuses it"
        return self.array


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ">f4", ml_dtypes.bfloat16], ids=str
)
@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16], ids=str)
def test_weights_are_cast_to_the_parameters_dtype(param_dtype, dtype):
    weights = {name: a.astype(dtype) for name, a in torch_weights(4).items()}
    cell = lstm(param_dtype=param_dtype)
    snn.load_weights(cell, {n: Tensor(a) for n, a in weights.items()}, layout="torch")
    for array in learned(cell).values():
        assert array.dtype == param_dtype
    summed = np.float64(weights["bias_ih_l0"]) + np.float64(weights["bias_hh_l0"])
    eps = float(jnp.finfo(param_dtype).eps)
    np.testing.assert_allclose(
        np.float64(cell.hf.bias[...]), summed[HIDDEN : 2 * HIDDEN], rtol=eps, atol=eps
    )
    expected = jnp.asarray(np.float32(weights["weight_ih_l0"][:HIDDEN].T)).astype(param_dtype)
    np.testing.assert_array_equal(cell.ii.kernel[...], expected)


def test_parameters_keep_their_devices():
    mesh = jax.make_mesh((4,), ("model",), (jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        layer = snn.SoftSwitch(
            IN, 4, kernel_metadata={"out_sharding": (None, "model")}, rngs=nnx.Rngs(0)
        )
    before = {name: array.sharding for name, array in learned(layer).items()}
    assert not before["on.kernel"].is_fully_replicated
    weights = {name: np.ones(a.shape) for name, a in learned(layer).items()}
    snn.load_weights(layer, weights, layout="nnx")
    assert {name: array.sharding for name, array in learned(layer).items()} == before


def test_loading_is_traced():
    weights = torch_weights(4)
    cell = lstm()

    @nnx.jit
    def load(cell, weights):
        snn.load_weights(cell, weights, layout="torch")

    load(cell, weights)
    same(cell.ii.kernel[...], weights["weight_ih_l0"][:HIDDEN].T)


# Refusals


def without(weights, name):
    return {n: a for n, a in weights.items() if n != name}


GRU_WEIGHTS = torch_weights(3)
REFUSED = {
    "missing": (gru, without(GRU_WEIGHTS, "weight_hh_l0"), "torch", r"missing: weight_hh_l0$"),
    "missing bias": (gru, without(GRU_WEIGHTS, "bias_ih_l0"), "torch", r"missing: bias_ih_l0$"),
    "left over": (
        gru,
        GRU_WEIGHTS | {"weight_hr_l0": drawn(2, 2)},
        "torch",
        r"left over: weight_hr_l0$",
    ),
    "several at once": (
        gru,
        {f"enc.{n}": a for n, a in without(GRU_WEIGHTS, "bias_hh_l0").items()}
        | {"enc.bias_ih_l0": drawn(5), "enc.more": drawn(1)},
        "torch",
        r"missing: enc.bias_hh_l0; left over: enc.more; of another shape: enc.bias_ih_l0 \(5,\), "
        r"which must be \(12,\)$",
    ),
    "shape": (
        gru,
        GRU_WEIGHTS | {"weight_ih_l0": drawn(IN, 3 * HIDDEN)},
        "torch",
        r"of another shape: weight_ih_l0 \(3, 12\), which must be \(12, 3\)$",
    ),
    "no place for torch's b_hn": (
        lambda: gru(hidden_bias=False),
        GRU_WEIGHTS,
        "torch",
        r"left over: bias_hh_l0 \(it holds b_hn, .* hidden_bias=True",
    ),
    "no place for a bias": (
        lambda: snn.SqueezeExcite(8, reduction=2, rngs=nnx.Rngs(0)),
        {"squeeze.kernel": drawn(8, 4), "excite.kernel": drawn(4, 8), "excite.bias": drawn(8)},
        "linen",
        r"left over: excite.bias \(there is no bias, see 'use_bias'\)$",
    ),
    "too few layers": (
        mlp,
        {"0.weight": drawn(HIDDEN, IN), "2.weight": drawn(OUT, HIDDEN)},
        "torch",
        r"must be 4 linear layers, told by a number in their names, got \['0', '2'\]$",
    ),
    "several layers": (
        lstm,
        torch_weights(4) | torch_weights(4, "_l1"),
        "torch",
        r"missing: weight_ih, .* left over: weight_ih_l0",
    ),
    "Equinox's batch statistics": (
        lambda: mlp(norm="batch"),
        {f"layers.{i}.weight": drawn(*s) for i, s in enumerate([(4, 3), (4, 4), (4, 4), (2, 4)])}
        | {f"norms.{i}.weight": drawn(4) for i in range(3)},
        "equinox",
        "Equinox keeps the statistics of batch normalisation outside",
    ),
    "a parameter without a name there": (
        lambda: nnx.Sequential(nnx.PReLU(), nnx.Linear(2, 2, rngs=nnx.Rngs(0))),
        {"0.weight": drawn(1), "1.weight": drawn(2, 2), "1.bias": drawn(2)},
        "torch",
        r"'[.layers]*0.negative_slope' of a PReLU has no name there",
    ),
    "no weights": (gru, {}, "linen", r"missing: ir.kernel, iz.kernel, in.kernel, ir.bias"),
    "layout": (gru, GRU_WEIGHTS, "keras", r"'layout' must be one of .*, got 'keras'$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_is_amiss_and_write_nothing(name):
    make, weights, layout, message = REFUSED[name]
    module = make()
    before = learned(module)
    # The suite's type checks would refuse an unknown layout.
    load = snn.load_weights.__wrapped__ if name == "layout" else snn.load_weights
    with pytest.raises(ValueError, match=message):
        load(module, weights, layout=layout)
    assert_equal(learned(module), before)


@pytest.mark.parametrize("dtype", [np.int32, bool, np.complex64, object, "<U3"], ids=str)
def test_weights_that_are_no_real_numbers(dtype):
    cell = gru()
    before = learned(cell)
    weights = GRU_WEIGHTS | {"bias_hh_l0": np.zeros(3 * HIDDEN).astype(dtype)}
    with pytest.raises(TypeError, match=r"real floating numbers, got dtype \w+ in 'bias_hh_l0'"):
        snn.load_weights(cell, weights, layout="torch")
    assert_equal(learned(cell), before)


def test_a_layer_that_was_replaced_has_no_weights_of_a_cell():
    class Scaled(nnx.Module):
        def __init__(self, linear):
            self.linear, self.scale = linear, nnx.Param(jnp.ones(3 * HIDDEN))

        def __call__(self, x):
            return self.scale[...] * self.linear(x)

    cell = gru()
    cell.dense_i = Scaled(cell.dense_i)
    with pytest.raises(ValueError, match=r"'dense_i' of a GRUCell is a Scaled, not a Linear"):
        snn.load_weights(cell, GRU_WEIGHTS, layout="torch")


def test_lora_stays_as_it_is():
    model = mlp()
    model.last = nnx.LoRALinear(HIDDEN, OUT, lora_rank=2, rngs=nnx.Rngs(3))
    lora = model.last.lora.lora_a[...]
    theirs = mlp(rngs=nnx.Rngs(5))
    snn.load_weights(model, nnx.state(theirs), layout="nnx")
    np.testing.assert_array_equal(model.last.lora.lora_a[...], lora)
    same(model(X), theirs(X))  # lora_b is 0 at first
