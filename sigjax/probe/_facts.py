"""What is known of a report before any number is: its static part."""

import dataclasses

from ._plan import Plan


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Attributes:
      name: its path, such as "blocks.2.linear.kernel".
      owner: the layer that has it.
      shape: as its layer sees it; a kernel has two axes or more.
      stack: lengths of the leading axes that are measured one by one: of a stack of layers, of
        experts.
      is_used: whether the loss depends on it.
      is_reached: whether the loss's gradient does.
      dtype: of its values.
      use: "kernel" of a product, "table" that is looked up, "scale" or "bias"; "" for others.
      fan_in: how many products an output of a kernel adds up; 0 for others.
      choices: of a stack of experts, which is the last axis of `stack`, how many choices among them
        are made; 0 for others.
    """

    name: str
    owner: str
    shape: tuple[int, ...]
    stack: tuple[int, ...]
    is_used: bool
    is_reached: bool
    dtype: str
    use: str
    fan_in: int
    choices: int

    @property
    def layers(self) -> int:
        """How many axes of its stack are of layers."""
        return len(self.stack) - (self.choices > 0)


@dataclasses.dataclass(frozen=True)
class Facts:
    """The static part of a report; equal for programs that are measured alike.

    Attributes:
      plan: what was measured where.
      parameters: of the model.
      reached: for each site, whether a gradient of the loss comes by.
      site_groups, parameter_groups: which of them are stacked in each array of a report.
      per_step: whether rows are wanted for each step of a loop over time.
    """

    plan: Plan
    parameters: tuple[Parameter, ...]
    reached: tuple[bool, ...]
    site_groups: tuple[tuple[int, ...], ...]
    parameter_groups: tuple[tuple[int, ...], ...]
    per_step: bool
