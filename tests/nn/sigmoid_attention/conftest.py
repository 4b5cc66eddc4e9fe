"""What the tests of sigmoid attention share."""

import pytest

from sigjax.nn._sigmoid_attention import _blocks


@pytest.fixture
def small_blocks(monkeypatch):
    """Three by three blocks, the last of them padded."""
    monkeypatch.setattr(_blocks, "LARGEST", (4, 5))
