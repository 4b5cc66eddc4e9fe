"""Activations known by what is computed: insides of others are none, hand-written ones are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax
from sigjax.probe import diagnose

X = jnp.linspace(-2, 2, 64).reshape(16, 4)
# So large that every bounded function of them is at a bound.
FAR = 30.0


def rows(function, *functions):
    """The rows of layers of which each is followed by a function, and the report."""
    functions = (function, *functions)
    weights = {f"layer_{i}": jnp.eye(4) * FAR for i in range(len(functions))}
    weights["layer_last"] = jnp.eye(4)

    def loss(w, x):
        kept = [f(x @ w[f"layer_{i}"]) for i, f in enumerate(functions)]
        return jnp.mean(sum(kept) @ w["layer_last"])

    report = diagnose(weights, loss, X)
    return report.rows[:-1], [f for f in report.findings if f.kind == "saturated"]


@pytest.mark.parametrize(
    "functions",
    [
        (jax.nn.gelu, lambda x: jax.nn.gelu(x, approximate=False), jax.nn.silu, jax.nn.mish),
        (
            lambda x: x * jax.nn.sigmoid(1.702 * x),
            lambda x: 0.5 * x * (1 + jnp.tanh(0.79788456 * (x + 0.044715 * x**3))),
            lambda x: x / (1 + jnp.exp(-x)),
            sigjax.silu,
        ),
        (jax.nn.softmax, jax.nn.log_softmax, jax.nn.softplus, jax.nn.log_sigmoid),
        (lambda x: jax.nn.sigmoid(x) * jnp.tanh(x[:, ::-1]), jax.nn.glu, jnp.sin, jnp.exp),
    ],
    ids=["Flax's", "by hand", "soft", "gates"],
)
def test_the_inside_of_a_function_is_no_saturated_sigmoid(functions):
    functions = tuple(
        (lambda x, f=f: jnp.tile(f(x), 2)) if f is jax.nn.glu else f for f in functions
    )
    found, findings = rows(*functions)
    assert [row.activation for row in found] == [None] * len(functions)
    assert findings == []


def test_bounded_activations_are_seen_however_they_are_written():
    functions = (
        jax.nn.sigmoid,
        lambda x: 1 / (1 + jnp.exp(-x)),
        lambda x: 1 / (jnp.exp(-x) + 1),
        sigjax.sigmoid,
        jnp.tanh,
        lambda x: 0.5 * (jnp.tanh(x / 2) + 1),
    )
    found, (finding,) = rows(*functions)
    assert [row.activation for row in found] == ["sigmoid"] * 4 + ["tanh"] * 2
    assert set(finding.layers) == {row.name for row in found}
    for row, function in zip(found, functions, strict=True):
        y = np.asarray(function(X * FAR), np.float64)
        # within 1 % of its range from a bound
        np.testing.assert_allclose(row.saturated, np.mean((y < 0.01) | (y > 0.99)), atol=0.02)


def test_recurrent_gates_at_their_bounds_are_no_finding():
    """A forget gate of 0.9999 is what it is for."""

    class Model(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(4, 4, rngs=rngs), rngs=rngs)
            self.head = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.head(self.rnn(x)[:, -1])

    model = Model()
    for name, value in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        if name[-1] == "bias" and "cell" in name:
            value.set_value(value[...] + 6)
    report = diagnose(model, lambda m, x: jnp.mean(m(x) ** 2), X.reshape(4, 4, 4))
    assert [f.kind for f in report.findings] == []


def test_a_unit_that_works_in_one_of_two_calls_is_not_dead():
    """Dead is what is 0 over the whole batch, in every call of a layer."""
    weights = {"shared": jnp.eye(4), "last": jnp.eye(4)}
    x = jnp.abs(X) + 0.1

    def loss(signs):
        def call(w, x, sign):
            return jax.nn.relu(sign * (x @ w["shared"]))

        return lambda w, x: jnp.sum(sum(call(w, x, s) for s in signs) @ w["last"])

    assert diagnose(weights, loss((1.0, -1.0)), x).findings == []
    (finding,) = diagnose(weights, loss((-1.0, -2.0)), x).findings
    assert (finding.kind, finding.layers) == ("dead", ("shared",))


def test_a_few_examples_say_nothing_of_dead_units():
    weights = {"first": -jnp.eye(4), "last": jnp.eye(4)}

    def loss(w, x):
        return jnp.sum(jax.nn.relu(x @ w["first"]) @ w["last"])

    few = diagnose(weights, loss, jnp.ones((4, 4)))
    many = diagnose(weights, loss, jnp.ones((64, 4)))
    assert np.isnan(few.rows[0].dead)
    assert many.rows[0].dead == 1


def test_sharp_attention_is_told_from_a_sharp_head():
    """A softmax whose weights mix values is attention; one that gives the output is not."""
    names = ("query", "key", "value", "head")
    keys = jax.random.split(jax.random.key(1), len(names))
    weights = {n: jax.random.normal(k, (4, 4)) / 2 for n, k in zip(names, keys, strict=True)}

    def loss(w, x, masked):
        q, k, v = (x @ w[name] for name in names[:3])
        logits = q @ k.mT / 2
        if masked:
            logits = jnp.where(jnp.tri(x.shape[1], dtype=bool), logits, -1e9)
        y = jax.nn.softmax(logits) @ v
        return -jnp.mean(jax.nn.log_softmax(y @ w["head"])[..., 0])

    x = jax.random.normal(jax.random.key(2), (2, 8, 4))
    for masked in (False, True):
        assert diagnose(weights, loss, x, masked).findings == []
        sharp = {n: w * (30 if n in ("query", "key") else 1) for n, w in weights.items()}
        finding = diagnose(sharp, loss, x, masked).findings[0]
        assert finding.kind == "attention_saturated"
        assert set(finding.layers) == {"query", "key"}
        assert all(np.isnan(row.saturated) for row in diagnose(weights, loss, x, masked).rows)


def test_the_rate_of_a_hand_written_recurrence_is_its_factor():
    """h' = h / 2 + x w: each step halves the gradient."""

    def loss(w, x):
        def step(h, x):
            return 0.5 * h + x @ w["w"], None

        return jnp.sum(jax.lax.scan(step, jnp.zeros(3), x)[0])

    (finding,) = diagnose({"w": jnp.ones((4, 3))}, loss, jnp.ones((24, 4))).findings
    assert finding.kind == "forgetting"
    assert "multiplies the gradient by 0.5:" in finding.text
    assert "about 1.4 steps" in finding.text  # 1 / ln 2
    assert "chrono(24)" in finding.remedy
