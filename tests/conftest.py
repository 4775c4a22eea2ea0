"""What every test shares."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

pytest_plugins = ["tests.brokers", "tests.parallel"]

# A busy machine is no reason for a property not to hold; and what failed once shall fail again.
settings.register_profile("pipeline", deadline=None, derandomize=True)
# For once in a while, with `--hypothesis-profile deep`: other examples each time, and many.
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile("pipeline")


@pytest.fixture(autouse=True)
def root_logger_as_it_was() -> Iterator[None]:
    """A command that ran in this process must not leave its log on a stream that is closed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
