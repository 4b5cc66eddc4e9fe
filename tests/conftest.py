"""Settings of every test: runtime type checks, strict promotion, four devices, bounded examples."""

import sys

import hypothesis
import jax
import jaxtyping
import pytest

# Before anything imports the package: every annotated function of it checks its arguments.
jaxtyping.install_import_hook("sigjax", "beartype.beartype")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 4)

# The first example of a shape compiles, so no deadline holds.
hypothesis.settings.register_profile("sigjax", deadline=None, max_examples=200, derandomize=True)
hypothesis.settings.load_profile("sigjax")


def pytest_addoption(parser):
    """Adds --slice."""
    parser.addoption("--slice", action="store_true", help="the first test of every file only")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Keeps the first test of each file where --slice asks for it; `make check` does."""
    if config.getoption("--slice"):
        first = {item.path: item for item in reversed(items)}
        kept = [item for item in items if first[item.path] is item]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


@pytest.fixture(autouse=True)
def figures_are_closed():
    """A worker runs whole files, and pyplot warns of figures that pile up."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
