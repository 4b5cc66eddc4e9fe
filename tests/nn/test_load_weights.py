"""Loading weights: forms of names, dtypes, devices, and refusals that write nothing."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from tests.nn.weights import HIDDEN, IN, OUT, X, drawn, gru, lstm, mlp, same, torch_weights

OURS = {
    "GRUCell": lambda seed, **o: snn.RNN(gru(rngs=nnx.Rngs(seed), **o)),
    "LSTMCell": lambda seed, **o: snn.RNN(snn.LSTMCell(IN, HIDDEN, rngs=nnx.Rngs(seed), **o)),
    "MinGRU": lambda seed, **o: snn.MinGRU(IN, HIDDEN, rngs=nnx.Rngs(seed), **o),
    "RGLRU": lambda seed, **o: snn.RGLRU(8, num_heads=2, rngs=nnx.Rngs(seed), **o),
    "RecurrentBlock": lambda seed, **o: snn.RecurrentBlock(
        8, num_heads=2, rngs=nnx.Rngs(seed), **o
    ),
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


@pytest.mark.sampled(3)
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
