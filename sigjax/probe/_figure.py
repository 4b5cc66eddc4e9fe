"""Figures that need no pyplot."""

import functools
import io
from typing import Any


def new_figure(width: float, height: float) -> Any:
    """A matplotlib `Figure` that shows itself where it ends a cell of a notebook.

    Args:
      width: in inches.
      height: in inches.
    """
    return _shown()(figsize=(width, height), layout="constrained")


@functools.cache
def _shown() -> Any:
    from matplotlib.figure import Figure

    class Shown(Figure):
        """A notebook asks for this; of figures that pyplot does not know it shows only the name."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    return Shown
