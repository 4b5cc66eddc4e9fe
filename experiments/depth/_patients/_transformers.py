"""Transformers: of tokens, of images, and with blocks that are scanned over."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._common import KEY, WIDTH, Feed


class Block(nnx.Module):
    """A transformer's block, with the norm before or behind each branch."""

    def __init__(self, rngs: nnx.Rngs, before: bool = True, causal: bool = True) -> None:
        self.attention = nnx.MultiHeadAttention(4, WIDTH, decode=False, rngs=rngs)
        self.feed = Feed(WIDTH, rngs)
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.before, self.causal = before, causal

    def __call__(self, x: Array) -> Array:
        mask = nnx.make_causal_mask(x[..., 0]) if self.causal else None
        first, second = self.norms
        if self.before:
            x = x + self.attention(first(x), mask=mask)
            return x + self.feed(second(x))
        x = first(x + self.attention(x, mask=mask))
        return second(x + self.feed(x))


class Transformer(nnx.Module):
    def __init__(self, before: bool = True, depth: int = 4, rngs: nnx.Rngs | None = None) -> None:
        rngs = rngs or nnx.Rngs(0)
        self.embed = nnx.Embed(50, WIDTH, rngs=rngs)
        self.position = nnx.Param(0.02 * jax.random.normal(KEY, (16, WIDTH)))
        self.blocks = nnx.List([Block(rngs, before) for _ in range(depth)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 50, rngs=rngs)

    def __call__(self, tokens: Array) -> Array:
        x = self.embed(tokens) + self.position[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class VisionTransformer(nnx.Module):
    def __init__(self, depth: int = 4) -> None:
        rngs = nnx.Rngs(0)
        self.patch = nnx.Conv(3, WIDTH, (4, 4), strides=4, rngs=rngs)
        self.token = nnx.Param(jnp.zeros((1, 1, WIDTH)))
        self.position = nnx.Param(0.02 * jax.random.normal(KEY, (17, WIDTH)))
        self.blocks = nnx.List([Block(rngs, causal=False) for _ in range(depth)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 4, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = self.patch(images).reshape(len(images), -1, WIDTH)
        token = jnp.broadcast_to(self.token[...], (len(images), 1, WIDTH))
        x = jnp.concatenate([token, x], 1) + self.position[...]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]))


class Stack(nnx.Module):
    """Blocks that are scanned over, each computed again in the backward pass."""

    def __init__(self, depth: int = 4) -> None:
        @nnx.split_rngs(splits=depth)
        @nnx.vmap(in_axes=0, out_axes=0)
        def create(rngs: nnx.Rngs) -> Any:
            return Block(rngs)

        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(50, WIDTH, rngs=rngs)
        self.blocks = create(rngs)
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 50, rngs=rngs)

    def __call__(self, tokens: Array) -> Array:
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        @nnx.remat
        def run(x: Array, block: Any) -> Any:
            return block(x)

        return self.head(self.norm(run(self.embed(tokens), self.blocks)))
