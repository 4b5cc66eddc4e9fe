"""Small cells and networks, and weights in the forms of other frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

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


def mlp(**options):
    return snn.MLP(
        IN, HIDDEN, OUT, depth=3, **{"activation": jnp.tanh, "rngs": nnx.Rngs(1), **options}
    )
