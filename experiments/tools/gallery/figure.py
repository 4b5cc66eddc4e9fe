"""Figures small enough for a repository."""

import io

from PIL import Image

from experiments.harness.usage import UsageError

LARGEST = 150_000  # bytes of one figure
_NARROWEST = 900  # pixels; below it the labels of three panels cannot be read


def small_png(content: bytes, limit: int = LARGEST) -> bytes:
    """A PNG within a limit: with 256 colours, and smaller by and by if that is not enough.

    Raises:
      UsageError: if it is too large where its labels can still be read.
    """
    with Image.open(io.BytesIO(content)) as opened:
        whole = opened.convert("RGB")
    width = whole.width
    while width >= min(_NARROWEST, whole.width):
        height = round(whole.height * width / whole.width)
        sized = whole if width == whole.width else whole.resize((width, height))
        encoded = io.BytesIO()
        sized.quantize(256).save(encoded, "png", optimize=True)
        if len(encoded.getvalue()) <= limit:
            return encoded.getvalue()
        width = width * 9 // 10
    raise UsageError(
        f"a figure of {_NARROWEST} pixels in width is larger than {limit} bytes; draw fewer points"
    )


def small_svg(content: bytes, limit: int = LARGEST) -> bytes | None:
    """An SVG as it is, or nothing where it is above the limit: the PNG serves better."""
    return content if len(content) <= limit else None
