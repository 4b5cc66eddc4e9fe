"""A figure as part of a page, so that the page's search finds what is written in it."""

import re
from html import escape
from pathlib import Path

# Above this a browser is slow to lay out a figure's elements, and the picture serves better.
_LARGEST = 2**20  # bytes


def inline_svg(path: Path | None, prefix: str, label: str) -> str | None:
    """The `<svg>` element of a file that Matplotlib wrote, or None if it is large or not there.

    Args:
      path: the file.
      prefix: put before all its ids, which no other element of the page may share.
      label: what somebody who does not see it is told.
    """
    if path is None or path.stat().st_size > _LARGEST:
        return None
    text = path.read_text("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    head, _, body = text.partition(">")
    # Without its size in points it takes the width that it is given.
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(label, quote=True)}">{body}'
