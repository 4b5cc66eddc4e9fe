"""Sigmoid attention and routers, ours and written by hand, healthy and broken."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import sigjax
from sigjax import nn as snn
from sigjax.probe import diagnose
from tests.draws import normal

LENGTH, WIDTH, EXPERTS = 64, 16, 8
TOKENS = normal(0, (2 * LENGTH, WIDTH))
X = jnp.asarray(np.asarray(TOKENS).reshape(2, LENGTH, WIDTH))
# What is added to -log n: then the bias is 0, all keys are closed, all are open.
SHIFTS = {"healthy": 0.0, "no bias": np.log(LENGTH), "closed": -20.0, "open": 12.0}
WORDS = {"no bias": "sum to", "closed": "nothing comes through", "open": "open by more than 99 %"}

# Three digits are told, of very small numbers two.
ROUNDED = {"no bias": 0.005, "closed": 0.05, "open": 0.005}


def summed(text):
    """The sum of a query's weights that a finding speaks of."""
    return float(re.findall(r"sums? to ([\d.e+-]+\d)", text)[0])


def judged(report, state, layers):
    if state == "healthy":
        assert report.findings == []
        return None
    finding = report.findings[0]
    assert finding.kind == "attention_saturated"
    assert set(finding.layers) == layers
    assert WORDS[state] in finding.text
    assert "log n" in finding.remedy
    return finding


class Attention(nnx.Module):
    """Ours, whose bias is a parameter, so that one program is all states."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.attention = snn.SigmoidAttention(2, WIDTH, train_logit_bias=True, rngs=rngs)
        self.head = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        return self.head(self.attention(x, is_causal=True))


def square(model, x):
    return jnp.mean(model(x) ** 2)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("state", SHIFTS)
def test_our_sigmoid_attention(state):
    """In blocks, which are summed: the sums are those of the weights that it returns."""
    model = Attention()
    model.attention.logit_offset[...] += SHIFTS[state]
    finding = judged(diagnose(model, square, X), state, {"attention.query", "attention.key"})
    if finding:
        _, weights = model.attention(X, is_causal=True, return_gates=True)
        # Every second query is looked at.
        np.testing.assert_allclose(
            summed(finding.text), weights[..., ::2, :].sum(-1).mean(), rtol=ROUNDED[state]
        )


def by_hand(w, x, shift, sees):
    q, k, v = (x @ w[name] for name in ("query", "key", "value"))
    logits = q @ k.mT / 4 - jnp.log(x.shape[1]) + shift
    weights = jax.nn.sigmoid(jnp.where(sees, logits, -1e9))
    return jnp.mean(((weights @ v) @ w["head"]) ** 2)


WEIGHTS = {
    name: normal(1 + seed, (WIDTH, WIDTH), 0.25)
    for seed, name in enumerate(("query", "key", "value", "head"))
}


@pytest.mark.parametrize("state", SHIFTS)
def test_hand_written_sigmoid_attention(state):
    """With queries of 0 all n weights are the sigmoid of the bias."""
    everything = jnp.ones((LENGTH, LENGTH), bool)
    shift = jnp.float32(SHIFTS[state])
    judged(diagnose(WEIGHTS, by_hand, X, shift, everything), state, {"query", "key"})
    flat = WEIGHTS | {"query": jnp.zeros((WIDTH, WIDTH))}
    for sees in (everything, jnp.tri(LENGTH, dtype=bool)[::-1]):
        report = diagnose(flat, by_hand, X, shift, sees)
        found = [f for f in report.findings if f.kind == "attention_saturated"]
        if state != "healthy":
            keys = float(sees[::2].sum(-1).mean())
            expected = keys / (1 + LENGTH * np.exp(-SHIFTS[state]))
            np.testing.assert_allclose(summed(found[0].text), expected, rtol=ROUNDED[state])
        else:
            assert found == []


@pytest.mark.slice
def test_sigmoid_weights_over_their_sum_are_no_sums_of_many():
    def normalised(w, x):
        q, k, v = (x @ w[name] for name in ("query", "key", "value"))
        weights = jax.nn.sigmoid(q @ k.mT / 4)
        return jnp.mean((weights / weights.sum(-1, keepdims=True) @ v @ w["head"]) ** 2)

    assert diagnose(WEIGHTS, normalised, X).findings == []


def test_what_a_loop_only_adds_up_is_no_recurrence():
    """A loss over chunks has a row for its layers and no state that forgets or explodes."""

    def chunked(w, x):
        def step(total, chunk):
            return total + jnp.sum((chunk @ w["query"]) ** 2), None

        return lax.scan(step, jnp.zeros(()), x.reshape(16, -1, WIDTH))[0]

    report = diagnose({"query": WEIGHTS["query"]}, chunked, X)
    assert [row.name for row in report.rows] == ["query"]
    slope = 2 * np.asarray(X @ WEIGHTS["query"], np.float64)
    np.testing.assert_allclose(
        report.rows[0].log10_gradient, np.log10(np.linalg.norm(slope)), atol=1e-6
    )
    assert report.findings == []


class Mixture(nnx.Module):
    """The mixture of experts of the documentation, and what is behind it."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        init = nnx.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0)
        self.router = snn.SigmoidRouter(WIDTH, EXPERTS, experts_per_token=2, rngs=rngs)
        self.up = nnx.Param(init(rngs.params(), (EXPERTS, WIDTH, WIDTH)))
        self.down = nnx.Param(init(rngs.params(), (EXPERTS, WIDTH, WIDTH)))

    def __call__(self, x):
        routing = self.router(x)
        plan = snn.dispatch(routing.experts, EXPERTS)
        hidden = sigjax.silu(lax.ragged_dot(plan.gather(x), self.up[...], plan.group_sizes))
        rows = lax.ragged_dot(hidden, self.down[...], plan.group_sizes)
        return plan.combine(rows, routing.weights)


class Routed(nnx.Module):
    def __init__(self):
        self.mixture = Mixture()
        self.head = nnx.Linear(WIDTH, WIDTH, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.head(x + self.mixture(x))


def is_left_out(finding, layers):
    return (finding.kind, finding.layers) == ("dead", layers) and "2 of 8" in finding.text


def test_our_router():
    model = Routed()
    report = diagnose(model, square, TOKENS)
    assert report.findings == []
    (router,) = [row for row in report.rows if row.activation == "router"]
    affinity = jax.nn.sigmoid(model.mixture.router.linear(TOKENS[::2]))
    np.testing.assert_allclose(
        router.saturated, jnp.mean((affinity < 0.01) | (affinity > 0.99)), atol=1e-6
    )
    bias = model.mixture.router.bias
    bias[...] = bias[...].at[jnp.array([3, 5])].set(-9.0)
    (finding,) = diagnose(model, square, TOKENS).findings
    assert is_left_out(finding, ("mixture[3]", "mixture[5]"))
    bias[...] = jnp.zeros(EXPERTS)
    model.mixture.router.linear.kernel[...] *= 90
    finding = diagnose(model, square, TOKENS).findings[0]
    assert (finding.kind, finding.layers) == ("saturated", ("mixture.router.linear",))


def dense(w, x, gates):
    """All experts of all tokens."""
    hidden = jax.nn.silu(jnp.einsum("td,edh->teh", x, w["up"]))
    return jnp.einsum("te,teh,ehd->td", gates, hidden, w["down"])


def looked_up(w, x, gates):
    """The kernels of each token's experts; a SiLU between products is no attention."""
    gates, experts = lax.top_k(gates, 2)
    hidden = jax.nn.silu(jnp.einsum("td,tkdh->tkh", x, w["up"][experts]))
    return jnp.einsum("tk,tkh,tkhd->td", gates, hidden, w["down"][experts])


def one_by_one(w, x, gates):
    """A loop that is written out."""
    return sum(
        gates[:, e : e + 1] * (jax.nn.silu(x @ w["up"][e]) @ w["down"][e]) for e in range(EXPERTS)
    )


@pytest.mark.parametrize("experts", [dense, looked_up, one_by_one])
def test_hand_written_routers(experts):
    shapes = {
        "router": (WIDTH, EXPERTS), "up": (EXPERTS, WIDTH, WIDTH), "down": (EXPERTS, WIDTH, WIDTH)
    }  # fmt: skip
    mixture = {
        name: normal(seed, shape, 0.25) for seed, (name, shape) in enumerate(shapes.items(), 10)
    }
    weights = {"mixture": mixture, "head": WEIGHTS["head"]}

    def loss(w, x, bias):
        affinity = jax.nn.sigmoid(x @ w["mixture"]["router"])
        _, chosen = lax.top_k(affinity + bias, 2)
        gates = affinity * jax.nn.one_hot(chosen, EXPERTS).sum(-2)
        return jnp.mean(((x + experts(w["mixture"], x, gates)) @ w["head"]) ** 2)

    balanced = jnp.zeros(EXPERTS)
    assert diagnose(weights, loss, TOKENS, balanced).findings == []
    skewed = balanced.at[jnp.array([3, 5])].set(-9.0)
    (finding,) = diagnose(weights, loss, TOKENS, skewed).findings
    assert is_left_out(finding, ("mixture[3]", "mixture[5]"))
    large = weights | {"mixture": mixture | {"router": mixture["router"] * 90}}
    finding = diagnose(large, loss, TOKENS, balanced).findings[0]
    assert (finding.kind, finding.layers) == ("saturated", ("mixture.router",))


def test_a_few_tokens_say_nothing_of_an_expert():
    """Four tokens choose two of eight experts each: one is left out by chance."""
    model = Routed()
    bias = model.mixture.router.bias
    bias[...] = bias[...].at[3].set(-9.0)
    assert diagnose(model, square, TOKENS[:4]).findings == []


class Block(nnx.Module):
    """Gated sigmoid attention and a linear recurrence, each beside a skip connection."""

    def __init__(self, rngs):
        self.norms = nnx.List([nnx.RMSNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.attention = snn.GatedAttention(
            2, WIDTH, attention_fn=snn.dot_product_sigmoid_attention, rngs=rngs
        )
        self.recurrence = snn.RNN(snn.RecurrentBlock(WIDTH, num_heads=2, rngs=rngs))

    def __call__(self, x):
        x = x + self.attention(self.norms[0](x), is_causal=True)
        return x + self.recurrence(self.norms[1](x))


def test_a_healthy_block_of_todays_gates_has_no_finding():
    """But that the gate starts at zero, which is its design, until the first step."""
    model = Block(nnx.Rngs(0))
    (finding,) = diagnose(model, square, X).findings
    assert (finding.kind, finding.layers) == ("zero_weights", ("attention.gate",))
    model.attention.gate.kernel[...] += 0.1
    assert diagnose(model, square, X).findings == []
