"""Reports over the steps of a training."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..functional._messages import must
from ._figure import new_figure
from ._findings import Finding
from ._report import GradientReport

_NUMBERS = ("log10_gradient", "log10_parameter_gradient", "log10_rms", "saturated", "dead")
_FORMAT = 1
_WIDE = 1e3  # from here on a linear axis shows nothing of the small losses
_LABELS = 6  # that find room side by side


class History:
    """What reports said, step by step.

    It keeps numbers and words, not the reports, so it does not hold on to device memory.

    Example:
      >>> import jax.numpy as jnp
      >>> from sigjax.probe import History, diagnose
      >>> history = History()
      >>> for step in range(3):
      ...     weights = {"w": jnp.full((2, 2), 0.5 + step)}
      ...     history.append(step, diagnose(weights, lambda p, x: jnp.sum(x @ p["w"]), jnp.ones(2)))
      >>> history.to_xarray().sizes["step"]
      3
    """

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._losses: list[float] = []
        self._rows: list[dict[str, dict[str, float]]] = []
        self._findings: list[list[Finding]] = []

    def __len__(self) -> int:
        return len(self._steps)

    def append(self, step: int, report: GradientReport) -> None:
        """Adds a report; one that was not measured is left out.

        Args:
          step: its step, larger than all before.
          report: of concrete arrays.

        Raises:
          ValueError: if the step is not larger than the last.
        """
        if self._steps and step <= self._steps[-1]:
            raise ValueError(must("step", f"be larger than {self._steps[-1]}", step))
        if not bool(report.is_measured):
            return
        rows = {
            row.name: {name: float(getattr(row, name)) for name in _NUMBERS} for row in report.rows
        }
        self._steps.append(int(step))
        self._losses.append(float(report.loss))
        self._rows.append(rows)
        self._findings.append(report.findings)

    def extend(self, steps: Iterable[int] | Array, stacked: GradientReport) -> None:
        """Adds what `scan` over steps has stacked.

        Args:
          steps: one for each report.
          stacked: a report whose arrays have a leading axis of steps.

        Raises:
          ValueError: if there are not as many steps as reports.
        """
        numbers = [int(step) for step in steps]
        arrays = jax.device_get(stacked.measured)
        count = len(arrays.loss)
        if len(numbers) != count:
            raise ValueError(must("steps", f"be {count} numbers", len(numbers)))
        for place, step in enumerate(numbers):
            one = jax.tree.map(lambda x, place=place: jnp.asarray(x[place]), arrays)
            self.append(step, GradientReport(one, stacked.facts))

    @property
    def findings(self) -> list[tuple[int, Finding]]:
        """Each finding as it began, with its step; ordered by it.

        A finding goes on while the next report has one of its kind with a layer in common. One
        that went away and came back is there once for each time.
        """
        began: list[tuple[int, Finding]] = []
        before: list[Finding] = []
        for step, found in zip(self._steps, self._findings, strict=True):
            began += [
                (step, finding)
                for finding in found
                if not any(_is_continued(old, finding) for old in before)
            ]
            before = found
        return began

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` over `step` and `layer`; needs xarray."""
        import xarray

        layers = list(dict.fromkeys(name for rows in self._rows for name in rows))
        data = {
            name: (
                ("step", "layer"),
                np.array(
                    [[rows.get(one, {}).get(name, np.nan) for one in layers] for rows in self._rows]
                ).reshape(len(self._steps), len(layers)),
            )
            for name in _NUMBERS
        }
        return xarray.Dataset(
            {**data, "loss": ("step", np.array(self._losses))},
            coords={"step": self._steps, "layer": layers},
        )

    def plot(self) -> Any:
        """The gradient's norm over layers and steps as a matplotlib `Figure`; needs matplotlib."""
        data = self.to_xarray()
        layers = [str(name) for name in data["layer"].values]
        figure = new_figure(9.0, max(4.5, 0.22 * len(layers) + 2.5))
        loss, heat = figure.subplots(2, sharex=True, height_ratios=(1, 3))
        losses = data["loss"].values
        loss.plot(data["step"], losses)
        loss.set_ylabel("loss (1)")
        known = losses[np.isfinite(losses)]
        if known.size and known.min() > 0 and known.max() > _WIDE * known.min():
            loss.set_yscale("log")
        values = data["log10_gradient"].values
        values = np.where(np.isfinite(values), values, np.nan).T
        image = heat.pcolormesh(data["step"], np.arange(len(layers)), values, shading="nearest")
        heat.set_yticks(np.arange(len(layers)), layers, fontsize=7)
        heat.invert_yaxis()
        heat.set_xlabel("step (1)")
        heat.set_ylabel("layer, from input to output")
        figure.colorbar(image, ax=heat, label="log10 norm of the gradient (1)")
        for step in {step for step, _ in self.findings}:
            for axes in (loss, heat):
                axes.axvline(step, color="black", linestyle=":", linewidth=1)
        for step, kinds in self._labels().items():
            top = loss.get_xaxis_transform()
            text = ", ".join(kinds)
            loss.text(step, 1.02, text, transform=top, fontsize=8, ha="center", va="bottom")
        return figure

    def _labels(self) -> dict[int, list[str]]:
        """Kinds of findings by the step at which to write them; those close by stand together."""
        labels: dict[int, list[str]] = {}
        room = (self._steps[-1] - self._steps[0]) / _LABELS if self._steps else 0
        last = None
        for step, finding in self.findings:
            if last is None or step - last > room:
                last = step
            kinds = labels.setdefault(last, [])
            if finding.kind not in kinds:
                kinds.append(finding.kind)
        return labels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file; the old one is there until the new one is complete.

        Args:
          path: such as "history.json".
        """
        content = {
            "format": _FORMAT,
            "steps": self._steps,
            "losses": self._losses,
            "rows": self._rows,
            "findings": [
                [[f.kind, list(f.layers), f.text, f.remedy] for f in found]
                for found in self._findings
            ],
        }
        target = Path(path)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            try:
                json.dump(_plain(content), file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, target)
            except BaseException:
                os.unlink(file.name)
                raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "History":
        """Reads what `save` wrote.

        Raises:
          ValueError: if the file is no history.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise KeyError("format")
            history = cls()
            history._steps = [int(step) for step in content["steps"]]
            history._losses = [_number(loss) for loss in content["losses"]]
            history._rows = [
                {layer: {k: _number(v) for k, v in row.items()} for layer, row in rows.items()}
                for rows in content["rows"]
            ]
            history._findings = [
                [Finding(kind, tuple(layers), text, remedy) for kind, layers, text, remedy in found]
                for found in content["findings"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(must("path", "be a file that History.save wrote", path)) from error
        return history


def _is_continued(old: Finding, new: Finding) -> bool:
    return old.kind == new.kind and not set(old.layers).isdisjoint(new.layers)


def _plain(value: Any) -> Any:
    """For JSON, which has no infinities: those and NaN as words."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)


def _number(value: float | str) -> float:
    return float(value)
