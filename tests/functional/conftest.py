"""Functions are judged by their last place: as users' compilers make them."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def as_users_have_them(optimized):
    """Of every file here."""
