"""Programs for any number of examples: `jax.export` with a symbolic batch axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

import sigjax
import sigjax.nn as snn
from sigjax import calibration, dynamics, losses, theory

NAMES = (
    "sigmoid", "log_sigmoid", "log1m_sigmoid", "softplus", "softplus_inverse", "silu", "logit",
    "logitexp", "logit1mexp", "log1mexp", "log_cosh", "cloglog", "cloglog_inverse",
    "tanh_from_sigmoid", "hard_sigmoid", "sigmoid_derivative", "sigmoid_linear",
    "sigmoid_linear_error", "logaddexp", "logsubexp", "log_sigmoid_diff", "soft_switch",
    "bounded_sigmoid", "bounded_logit", "bounded_sigmoid_log_det",
)  # fmt: skip
OTHERS = {"soft_switch": (3, 1), "logaddexp": (0.5,), "logsubexp": (-1,), "log_sigmoid_diff": (-1,)}
CALLS = {
    **{
        name: lambda x, name=name: getattr(sigjax, name)(
            x[:, 0], *OTHERS.get(name, (0, 1) if name.startswith("bounded") else ())
        )
        for name in NAMES
    },
    "cross-entropy": lambda x: losses.sigmoid_binary_cross_entropy(x, x, axis=-1),
    "focal": lambda x: losses.sigmoid_focal_loss(x, x),
    "squared": lambda x: losses.squared_error_on_sigmoid(x, x),
    "preference": lambda x: losses.preference_loss(x, 1 - x),
    "odds ratio": lambda x: losses.odds_ratio_preference_loss(-x, -x - 1),
    "sequence": lambda x: losses.sequence_log_prob(x[:, None], jnp.ones_like(x[:, :1], jnp.int32)),
    "pairwise": lambda x: losses.sigmoid_pairwise_loss(x, x + 1, 2.0, -1.0),
    "platt": lambda x: calibration.fit_platt(x[:, 0], x[:, 1] > 0.3)(x),
    "temperature": lambda x: calibration.fit_temperature(x[:, 0], x[:, 1] > 0.3)(x),
    "calibration error": lambda x: calibration.expected_calibration_error(
        x[:, 0], x[:, 1] > 0.3, binning="mass", bins=3
    ),
    "reliability": lambda x: (
        calibration.reliability_curve(x[:, 0], x[:, 1] > 0.3, bins=4).frequency
    ),
    "mean field": lambda x: theory.mean_field(jnp.tanh, 1 + x[:, 0], 0.1),
    "critical line": lambda x: theory.critical_line(jnp.tanh, x[:, 0]),
    "profile": lambda x: theory.gradient_profile(jnp.tanh, 1 + x[:, 0], depth=2),
    "moments": lambda x: theory.jacobian_moments(jnp.tanh, 1 + x[:, 0], 0.1, depth=2),
    "bound": theory.sigmoid_gradient_bound,
    "saxe curve": lambda x: theory.saxe_curve(x[:, 0], 1.0, 0.1),
    "saxe half time": lambda x: theory.saxe_half_time(1 + x[:, 0], 0.1),
    "flip-flop": lambda x: dynamics.FlipFlop(5 + x[:, 0], 3.0).equilibria(),
    "sleep switch": lambda x: dynamics.SleepWake().equilibria(x[:, 0]),
    "joint": lambda x: dynamics.SigmoidJoint(1.0, 0.0, 16.0).period(x[:, 0]),
    "MLP": lambda x: snn.MLP(4, 3, 2, depth=2, rngs=nnx.Rngs(0))(x),
    "neuron": lambda x: snn.SigmoidNeuron(4, rngs=nnx.Rngs(0))(x),
    "head": lambda x: snn.MultiLabelHead(4, 2, rngs=nnx.Rngs(0))(x),
    "soft switch": lambda x: snn.SoftSwitch(4, 2, rngs=nnx.Rngs(0))(x),
    "highway": lambda x: snn.Highway(4, rngs=nnx.Rngs(0))(x),
    "sigmoid attention": lambda x: snn.SigmoidAttention(2, 4, rngs=nnx.Rngs(0))(
        x[:, None], return_gates=True
    ),
    "gated attention": lambda x: snn.GatedAttention(
        2, 4, attention_fn=snn.dot_product_sigmoid_attention, rngs=nnx.Rngs(0)
    )(x[:, None], return_gates=True, return_attention=True),
    "squeeze and excite": lambda x: snn.SqueezeExcite(4, reduction=2, rngs=nnx.Rngs(0))(
        x[:, None, None]
    ),
    "router": lambda x: snn.SigmoidRouter(
        4,
        6,
        experts_per_token=2,
        num_groups=3,
        groups_per_token=2,
        capacity_factor=1.25,
        rngs=nnx.Rngs(0),
    )(x),
    "dispatch": lambda x: (plan := snn.dispatch(jnp.argsort(x)[:, :2], 4)).combine(
        plan.gather(x), x[:, :2]
    ),
    **{
        cell.__name__: lambda x, cell=cell, parts=parts: snn.RNN(cell(1, 2, rngs=nnx.Rngs(0)))(
            x[:, :, None], initial_carry=jax.tree.map(lambda _: x[:, :2], parts)
        )
        for cell, parts in ((snn.GRUCell, 0), (snn.LSTMCell, (0, 0)), (snn.MinGRU, 0))
    },
    "RGLRU": lambda x: snn.RNN(snn.RGLRU(4, num_heads=2, rngs=nnx.Rngs(0)))(
        x[:, None], initial_carry=x
    ),
    "recurrent block": lambda x: snn.RNN(snn.RecurrentBlock(4, num_heads=2, rngs=nnx.Rngs(0)))(
        x[:, None], initial_carry=(x, jnp.stack([x] * 3, 1))
    ),
}
X = np.linspace(0.05, 0.95, 20, dtype=np.float32).reshape(5, 4)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", CALLS)
def test_a_program_for_any_number_of_examples(name):
    (examples,) = export.symbolic_shape("examples")
    program = export.export(jax.jit(CALLS[name]))
    exported = program(jax.ShapeDtypeStruct((examples, 4), jnp.float32))
    shapes = jax.eval_shape(CALLS[name], X)
    for leaf, expected in zip(exported.out_avals, jax.tree.leaves(shapes), strict=True):
        assert leaf.dtype == expected.dtype
        assert len(leaf.shape) == len(expected.shape)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "name",
    [
        "pairwise",
        "router",
        "dispatch",
        "calibration error",
        "reliability",
        "critical line",
        "bound",
        "MinGRU",
        "RGLRU",
    ],
)
def test_its_results_are_those_of_a_call(name):
    (examples,) = export.symbolic_shape("examples")
    program = export.export(jax.jit(CALLS[name]))
    exported = program(jax.ShapeDtypeStruct((examples, 4), jnp.float32))
    found, direct = exported.call(X), CALLS[name](jnp.asarray(X))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), found, direct)
