"""Public architectures in small, each with a loss and a batch, healthy as initialised.

`ARCHITECTURES` maps a name to a function without arguments that gives `(model, loss_fn, batch)`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ._common import IMAGES, KEY, LABELS, TARGETS, TOKENS, VECTORS, WIDTH, classify, next_token
from ._images import ConvNeXt, Mixer, ResNet, UNet
from ._others import ActorCritic, Autoencoder, Experts, advantage_loss, dict_of_arrays, evidence
from ._sequences import Sequence, Translator, translate
from ._transformers import Stack, Transformer, VisionTransformer

_SEQUENCES = jax.random.normal(KEY, (16, 12, WIDTH))
_FEW = (_SEQUENCES, jnp.arange(16) % 4)

Maker = Callable[[], tuple[Any, Callable[..., Any], tuple[Any, ...]]]

ARCHITECTURES: dict[str, Maker] = {
    "pre-norm transformer": lambda: (Transformer(), next_token, (TOKENS,)),
    "post-norm transformer": lambda: (Transformer(before=False), next_token, (TOKENS,)),
    "ViT": lambda: (VisionTransformer(), classify, (IMAGES, LABELS)),
    "ResNet": lambda: (ResNet(), classify, (IMAGES, LABELS)),
    "U-Net": lambda: (UNet(), lambda m, x: jnp.mean((m(x) - x) ** 2), (IMAGES,)),
    "ConvNeXt": lambda: (ConvNeXt(), classify, (IMAGES, LABELS)),
    "seq2seq with attention": lambda: (Translator(), translate, (TOKENS, TOKENS[::-1])),
    "actor-critic": lambda: (
        ActorCritic(),
        advantage_loss,
        (VECTORS, jnp.arange(64) % 4, VECTORS[:, 1]),
    ),
    "VAE": lambda: (Autoencoder(), evidence, (nnx.sigmoid(VECTORS),)),
    "MLP-Mixer": lambda: (Mixer(), classify, (IMAGES, LABELS)),
    "mixture of experts": lambda: (Experts(), classify, (VECTORS, TARGETS)),
    "LSTM classifier": lambda: (Sequence(nnx.LSTMCell), classify, _FEW),
    "GRU classifier": lambda: (Sequence(nnx.GRUCell), classify, _FEW),
    "scanned and rematerialised": lambda: (Stack(), next_token, (TOKENS,)),
    "dict of arrays": dict_of_arrays,
}
# Zero is the design's choice there, and over after the first step.
WITH_ZEROS: dict[str, Maker] = {
    "ResNet with zero-init": lambda: (ResNet(zero=True), classify, (IMAGES, LABELS)),
}
