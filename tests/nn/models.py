"""Every module of sigjax.nn, small, and what it is called with."""

import functools

import jax.numpy as jnp
import numpy as np
from flax import nnx

import sigjax.nn as snn

IMAGE = np.linspace(-1, 1, 2 * 4 * 4 * 8, dtype=np.float32).reshape(2, 4, 4, 8)
ROWS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
SEQUENCE = np.sin(np.arange(3 * 5 * 8, dtype=np.float32)).reshape(3, 5, 8)

# name: (from options and rngs to the module, its inputs)
MODELS = {
    "MLP": (lambda **o: snn.MLP(8, 16, 3, depth=4, **o), ROWS),
    "MLP, layer norm, residual": (
        lambda **o: snn.MLP(8, 16, 3, depth=4, norm="layer", residual=True, **o),
        ROWS,
    ),
    "MLP, batch norm": (lambda **o: snn.MLP(8, 16, 3, depth=3, norm="batch", **o), ROWS),
    "MLP of one layer": (lambda **o: snn.MLP(8, 16, 3, depth=1, **o), ROWS),
    "SigmoidNeuron": (lambda **o: snn.SigmoidNeuron(8, prior=0.3, **o), ROWS),
    "SqueezeExcite": (lambda **o: snn.SqueezeExcite(8, reduction=2, **o), IMAGE),
    "GRUCell": (lambda **o: snn.RNN(snn.GRUCell(8, 4, max_time=20, **o)), SEQUENCE),
    "LSTMCell": (lambda **o: snn.RNN(snn.LSTMCell(8, 4, max_time=20, **o)), SEQUENCE),
    "MinGRU": (lambda **o: snn.RNN(snn.MinGRU(8, 4, max_time=20, **o)), SEQUENCE),
    "RecurrentBlock": (
        lambda **o: snn.RNN(snn.RecurrentBlock(8, num_heads=2, lru_features=4, **o)),
        SEQUENCE,
    ),
    "GRUCell in nnx.RNN": (lambda **o: nnx.RNN(snn.GRUCell(8, 4, **o)), SEQUENCE),
    "SigmoidAttention": (
        lambda **o: snn.SigmoidAttention(2, 8, layer_scale=0.5, train_logit_bias=True, **o),
        SEQUENCE,
    ),
    "GatedAttention": (
        lambda **o: snn.GatedAttention(
            2, 8, opening=0.7, attention_fn=snn.dot_product_sigmoid_attention, **o
        ),
        SEQUENCE,
    ),
    "SoftSwitch": (lambda **o: snn.SoftSwitch(8, 4, **o), ROWS),
    "Highway": (lambda **o: snn.Highway(8, **o), ROWS),
    "MultiLabelHead": (lambda **o: snn.MultiLabelHead(8, 3, prior=0.2, **o), ROWS),
}


@functools.cache
def drawn(name, seed, dtype):
    """In one program, rather than one for each step of each initializer."""
    return nnx.split(nnx.jit(lambda: MODELS[name][0](rngs=nnx.Rngs(seed), dtype=dtype))())


def build(name, seed=0, dtype=None, **options):
    make, inputs = MODELS[name]
    if options:
        model = make(rngs=nnx.Rngs(seed), dtype=dtype, **options)
    else:
        model = nnx.merge(*drawn(name, seed, dtype), copy=True)
    return model, jnp.asarray(inputs)
