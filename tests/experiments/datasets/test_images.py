"""Images."""

import jax
import pytest

from experiments.datasets import images
from experiments.harness.usage import UsageError


def test_mnist_without_a_network_is_refused(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(images, "fetch_openml", unreachable)
    with pytest.raises(UsageError, match="use --data digits"):
        images.binary_images("mnist", jax.random.key(0))
