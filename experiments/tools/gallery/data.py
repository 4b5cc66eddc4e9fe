"""Data small enough for a repository, thinned where need be."""

from experiments.harness import storage
from experiments.harness.usage import UsageError

LARGEST = 300_000  # bytes of one data file


def small_data(content: bytes, limit: int = LARGEST) -> tuple[bytes, dict[str, int]]:
    """A data file within a limit, and of which dimensions it keeps only every how many-th entry.

    The dimension halved next is the longest of the largest variable. What the file has left out is
    said in its attribute "thinned".

    Args:
      content: a dataset as `storage.to_bytes` encodes it.

    Raises:
      UsageError: if nothing is left to leave out.
    """
    dataset = storage.from_bytes(content)
    kept: dict[str, int] = {}
    while len(content) > limit:
        largest = max(dataset.variables.values(), key=lambda variable: variable.nbytes)
        longest = max(largest.sizes, key=lambda name: largest.sizes[name], default=None)
        if longest is None or largest.sizes[longest] < 2:
            raise UsageError(f"data cannot be thinned to {limit} bytes: {len(content)} are left")
        name = str(longest)
        dataset = dataset.isel({name: slice(None, None, 2)})
        kept[name] = 2 * kept.get(name, 1)
        content = storage.to_bytes(dataset.assign_attrs(thinned=thinned(kept)))
    return content, kept


def thinned(kept: dict[str, int]) -> str:
    """What is left out, as in "every 4th z"; "" for nothing."""
    return ", ".join(f"every {step}{_ending(step)} {name}" for name, step in kept.items())


def _ending(number: int) -> str:
    """Of the ordinal of a power of two above 1."""
    return "nd" if number % 10 == 2 and number % 100 != 12 else "th"
