"""Machine code is hardly optimised: compiling it is most of these tests' time."""

import pytest


@pytest.fixture(autouse=True)
def compile_in_little_time(hardly_optimized):
    """For every test of this folder."""
