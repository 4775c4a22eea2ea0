"""What every test shares."""

from hypothesis import settings

pytest_plugins = ["tests.brokers"]

# A busy machine is no reason for a property not to hold; and what failed once shall fail again.
settings.register_profile("pipeline", deadline=None, derandomize=True)
settings.load_profile("pipeline")
