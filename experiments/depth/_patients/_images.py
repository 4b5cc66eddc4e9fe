"""Convolutional networks, and a mixer of patches."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._common import WIDTH, Feed


class Bottleneck(nnx.Module):
    def __init__(self, before: int, after: int, stride: int, rngs: nnx.Rngs, zero: bool) -> None:
        conv: Any = {"use_bias": False, "rngs": rngs}
        self.first = nnx.Conv(before, after, (3, 3), strides=stride, **conv)
        self.second = nnx.Conv(after, after, (3, 3), **conv)
        scale = nnx.initializers.zeros if zero else nnx.initializers.ones
        self.norm1 = nnx.BatchNorm(after, rngs=rngs)
        self.norm2 = nnx.BatchNorm(after, scale_init=scale, rngs=rngs)
        same = stride == 1 and before == after
        self.short = None if same else nnx.Conv(before, after, (1, 1), strides=stride, **conv)

    def __call__(self, x: Array) -> Array:
        h = self.norm2(self.second(nnx.relu(self.norm1(self.first(x)))))
        return nnx.relu(h + (self.short(x) if self.short else x))


class ResNet(nnx.Module):
    def __init__(
        self,
        zero: bool = False,
        stages: tuple[tuple[int, int], ...] = ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2)),
    ) -> None:
        rngs = nnx.Rngs(0)
        self.stem = nnx.Conv(3, 16, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        widths = [16, *(width for width, _ in stages)]
        self.blocks = nnx.List(
            [
                Bottleneck(before, width, stride, rngs, zero)
                for before, (width, stride) in zip(widths, stages, strict=False)
            ]
        )
        self.head = nnx.Linear(widths[-1], 4, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class UNet(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)

        def conv(before: int, after: int, stride: int = 1) -> Any:
            return nnx.Conv(before, after, (3, 3), strides=stride, rngs=rngs)

        self.down = nnx.List([conv(3, 16), conv(16, 32, 2), conv(32, 64, 2)])
        self.middle = conv(64, 64)
        self.up = nnx.List([conv(96, 32), conv(48, 16)])
        self.out = nnx.Conv(16, 3, (1, 1), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        skips = []
        for layer in self.down:
            x = nnx.relu(layer(x))
            skips.append(x)
        x = nnx.relu(self.middle(skips.pop()))
        for layer in self.up:
            skip = skips.pop()
            x = jax.image.resize(x, (*skip.shape[:3], x.shape[-1]), "nearest")
            x = nnx.relu(layer(jnp.concatenate([x, skip], -1)))
        return self.out(x)


class ConvNeXtBlock(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, scale: float = 1e-6) -> None:
        self.depthwise = nnx.Conv(WIDTH, WIDTH, (7, 7), feature_group_count=WIDTH, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.feed = Feed(WIDTH, rngs)
        self.scale = nnx.Param(jnp.full((WIDTH,), scale))

    def __call__(self, x: Array) -> Array:
        return x + self.scale[...] * self.feed(self.norm(self.depthwise(x)))


class ConvNeXt(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.patch = nnx.Conv(3, WIDTH, (4, 4), strides=4, rngs=rngs)
        self.blocks = nnx.List([ConvNeXtBlock(rngs) for _ in range(4)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 4, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = self.patch(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x.mean((1, 2))))


class MixerBlock(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List([nnx.LayerNorm(WIDTH, rngs=rngs) for _ in range(2)])
        self.tokens = Feed(16, rngs)
        self.channels = Feed(WIDTH, rngs)

    def __call__(self, x: Array) -> Array:
        h = self.tokens(self.norms[0](x).swapaxes(1, 2)).swapaxes(1, 2)
        x = x + h
        return x + self.channels(self.norms[1](x))


class Mixer(nnx.Module):
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.patch = nnx.Conv(3, WIDTH, (4, 4), strides=4, rngs=rngs)
        self.blocks = nnx.List([MixerBlock(rngs) for _ in range(3)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 4, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = self.patch(x).reshape(len(x), 16, WIDTH)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))
