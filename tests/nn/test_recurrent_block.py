"""Griffin's recurrent block against NumPy's float64, by steps, packed, on meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn
from tests.nn.rg_lru import reference

FEATURES, INSIDE, HEADS, STEPS, BATCH = 6, 8, 2, 9, 4


def block(seed=0, **options):
    sizes = {"num_heads": HEADS, "lru_features": INSIDE}
    bias_init = nnx.initializers.normal(0.3)
    return snn.RecurrentBlock(
        FEATURES, **sizes, bias_init=bias_init, rngs=nnx.Rngs(seed), **options
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, STEPS, FEATURES))
    state = rng.normal(size=(BATCH, INSIDE))
    window = rng.normal(size=(BATCH, 3, INSIDE))
    starts = np.zeros((BATCH, STEPS), bool)
    starts[1, 0] = starts[2, 4] = starts[3, 2] = starts[3, 3] = True
    return x, (state, window), starts


def float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), nnx.to_pure_dict(tree))


def affine(x, layer):
    return x @ layer["kernel"] + layer["bias"]


def expected_outputs(weights, x, state, window, starts):
    """Of one sequence, `x [time, features]`: outputs, and the last state and window."""
    y = affine(x, weights["linear_y"])
    gating = y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))  # Hendrycks & Gimpel
    inputs = affine(x, weights["linear_x"])
    conv, convolved = weights["conv_1d"], []
    for now, start in zip(inputs, starts, strict=True):
        window = np.concatenate([np.zeros_like(window) if start else window, now[None]])
        convolved.append(np.sum(window * conv["kernel"], 0) + conv["bias"])
        window = window[1:]
    states = reference.states(
        weights["rg_lru"], np.stack(convolved)[:, None], state[None], starts[:, None]
    )[:, 0]
    return affine(gating * states, weights["linear_out"]), states[-1], window


def batched(weights, x, carry, starts):
    of_each = zip(x, *carry, starts, strict=True)
    found = [expected_outputs(weights, *each) for each in of_each]
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def test_outputs_states_and_slopes_are_numpys():
    x, carry, starts = data()
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        rnn = snn.RNN(block(param_dtype=jnp.float64), return_carry=True)
        graph, weights, rest = nnx.split(rnn, nnx.Param, ...)

        def run(weights, x, carry):
            rnn = nnx.merge(graph, weights, rest, copy=True)
            (state, window), outputs = rnn(x, initial_carry=carry, resets=jnp.asarray(starts))
            return outputs, state, window

        at = weights, jnp.asarray(x), jax.tree.map(jnp.asarray, carry)
        along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)

        @jax.jit
        def everything(at):
            found, pull = jax.vjp(run, *at)
            ones = jax.tree.map(jnp.ones_like, found)
            slope = sum(map(jnp.vdot, *map(jax.tree.leaves, (pull(ones), along))))
            return found, slope, sum(map(jnp.sum, jax.jvp(run, at, along)[1]))

        found, by_reverse, forward = everything(at)
    known, direction = (float64(tree[0])["cell"] for tree in (at, along))
    for ours, truth in zip(found, batched(known, x, carry, starts), strict=True):
        np.testing.assert_allclose(ours, truth, atol=1e-13)

    def moved(by):
        weights = jax.tree.map(lambda w, d: w + by * d, known, direction)
        state, window = (part + by * np.asarray(d) for part, d in zip(carry, along[2], strict=True))
        found = batched(weights, x + by * np.asarray(along[1]), (state, window), starts)
        return sum(map(np.sum, found))

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    assert float(by_reverse) == pytest.approx(slope, rel=1e-6)
    assert float(forward) == pytest.approx(float(by_reverse), rel=1e-12)


@pytest.mark.parametrize(
    "dtype", [pytest.param(jnp.float32, marks=pytest.mark.proof), jnp.bfloat16], ids=str
)
def test_decoding_step_by_step_is_the_whole_pass(dtype):
    x, _, starts = data()
    x = jnp.asarray(x, dtype)
    cell = block(dtype=dtype)

    @nnx.jit
    def run(cell):
        carry, outputs = cell.initialize_carry(x[:, 0].shape), []
        for t in range(STEPS):
            carry, output = cell(carry, x[:, t], reset=jnp.asarray(starts[:, t]))
            outputs.append(output)
        whole = snn.RNN(cell, return_carry=True)(x, resets=jnp.asarray(starts))
        half, first = snn.RNN(cell, return_carry=True)(x[:, :4])
        rest = snn.RNN(cell, return_carry=True)(x[:, 4:], initial_carry=half)
        unmarked = snn.RNN(cell, return_carry=True)(x)
        return (carry, jnp.stack(outputs, 1)), whole, (rest, first), unmarked

    steps, whole, (rest, first), unmarked = run(cell)
    tolerance = 1e-6 if dtype == jnp.float32 else 4 * float(jnp.finfo(dtype).eps)
    same = {"rtol": tolerance, "atol": tolerance}
    for one, other in (
        (steps, whole),
        ((rest[0], jnp.concatenate([first, rest[1]], 1)), unmarked),
    ):
        for found, expected in zip(*map(jax.tree.leaves, (one, other)), strict=True):
            assert found.dtype == expected.dtype
            found, expected = (np.asarray(a, np.float32) for a in (found, expected))
            np.testing.assert_allclose(found, expected, **same)


@pytest.mark.slice
def test_lengths_and_both_directions():
    x, _, _ = data()
    x = jnp.asarray(x, jnp.float32)
    lengths = np.array([9, 0, 2, 5])
    cell = block()

    @nnx.jit
    def run(cell):
        rnn = snn.RNN(cell, return_carry=True, keep_order=True)
        return [rnn(x, seq_lengths=jnp.asarray(lengths), reverse=way) for way in (False, True)]

    weights = float64(nnx.state(cell, nnx.Param))
    for reverse, (carry, outputs) in enumerate(run(cell)):
        for index, length in enumerate(lengths):
            if not length:
                assert not any(jnp.any(part[index]) for part in carry)
                continue
            inputs = np.float64(x[index, :length])
            inputs = inputs[::-1] if reverse else inputs
            truth, *last = expected_outputs(
                weights, inputs, np.zeros(INSIDE), np.zeros((3, INSIDE)), np.zeros(length, bool)
            )
            truth = truth[::-1] if reverse else truth
            np.testing.assert_allclose(outputs[index, :length], truth, atol=2e-6)
            for found, expected in zip(carry, last, strict=True):
                np.testing.assert_allclose(found[index], expected, atol=2e-6)


class Doubled(snn.RGLRU):
    """Its steps are others."""

    def __call__(self, carry, inputs, **options):
        carry, output = super().__call__(carry, inputs, **options)
        return carry, 2 * output


def test_a_recurrence_that_is_replaced_is_called():
    x = jnp.asarray(data()[0], jnp.float32)
    cell = block()
    expected = snn.RNN(cell)(x)
    cell.rg_lru.__class__ = Doubled
    cell.linear_out.kernel[...] /= 2
    np.testing.assert_allclose(snn.RNN(cell)(x), expected, atol=2e-6)


@pytest.mark.parametrize(
    "place",
    [pytest.param(P(("d", "m")), marks=pytest.mark.proof), P("d", None, "m")],
    ids=["batch", "batch and features"],
)
def test_meshes_give_what_one_device_gives(place):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, STEPS, 8)), jnp.float32)
    starts = jnp.asarray(data()[2])
    rnn = snn.RNN(snn.RecurrentBlock(8, num_heads=4, rngs=nnx.Rngs(0)), return_carry=True)
    graph, weights, rest = nnx.split(rnn, nnx.Param, ...)

    def loss(weights, x, starts):
        carry, outputs = nnx.merge(graph, weights, rest, copy=True)(x, resets=starts)
        return jnp.sum(jnp.sin(outputs)) + sum(map(jnp.sum, carry))

    run = jax.jit(jax.value_and_grad(loss, (0, 1)))
    expected = run(weights, x, starts)
    mesh = jax.make_mesh((2, 2), ("d", "m"), (AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        found = run(
            weights,
            jax.device_put(x, NamedSharding(mesh, place)),
            jax.device_put(starts, NamedSharding(mesh, P(place[0]))),
        )
    for ours, one in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(np.asarray(ours), one, rtol=2e-5, atol=2e-5)


def test_weights_of_recurrent_gemma_are_loaded():
    """Google's names in linen and torch, and Hugging Face's; the oracle is NumPy."""
    rng = np.random.default_rng(3)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    linear = {
        "linear_x": (FEATURES, INSIDE),
        "linear_y": (FEATURES, INSIDE),
        "linear_out": (INSIDE, FEATURES),
    }
    weights = {n: {"kernel": normal(*s), "bias": normal(s[1])} for n, s in linear.items()}
    weights["conv_1d"] = {"kernel": normal(4, INSIDE), "bias": normal(INSIDE)}
    gates = {
        gate: {"kernel": normal(HEADS, 4, 4), "bias": normal(HEADS, 4)}
        for gate in ("a_gate", "input_gate")
    }
    weights["rg_lru"] = {"a_param": normal(INSIDE), **gates}

    def flat(of_linear, of_others, **words):
        found = {"rg_lru." + words.get("a_param", "a_param"): weights["rg_lru"]["a_param"]}
        for name in linear:
            kernel = weights[name]["kernel"]
            found[f"{name}.{of_linear}"] = kernel.T if of_linear == "weight" else kernel
            found[f"{name}.bias"] = weights[name]["bias"]
        for name, parts in (("conv_1d", weights["conv_1d"]), *gates.items()):
            inside = "" if name == "conv_1d" else "rg_lru."
            for part, end in zip(("kernel", "bias"), of_others, strict=True):
                ending = end.replace("_", ".") if name == "conv_1d" else end
                found[f"{inside}{words.get(name, name)}{ending}"] = parts[part]
        return found

    theirs = flat(
        "weight", ("_weight", "_bias"), a_param="recurrent_param", a_gate="recurrent_gate"
    )
    theirs["conv_1d.weight"] = theirs["conv_1d.weight"].T[:, None]
    layouts = [
        (flat("kernel", (".w", ".b")), "linen"),
        (flat("weight", (".w", ".b")), "torch"),
        ({f"model.layers.3.temporal_block.{n}": a for n, a in theirs.items()}, "torch"),
    ]
    x, carry, starts = data()
    truth, *_ = batched(weights, x, carry, starts)
    for given, layout in layouts:
        rnn = snn.RNN(snn.load_weights(block(), given, layout=layout))
        first = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), carry)
        found = nnx.jit(
            lambda rnn, first=first: rnn(
                jnp.asarray(x, jnp.float32), initial_carry=first, resets=jnp.asarray(starts)
            )
        )(rnn)
        np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-4)


def test_a_convolution_of_one_step_is_refused():
    with pytest.raises(ValueError, match="argument 'conv_width' must be at least 2, got 1"):
        block(conv_width=1)
