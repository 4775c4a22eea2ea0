"""Kafka events enriched by Claude: Haiku answers the routine, Sonnet the ambiguous."""

import os
from importlib.metadata import version

__version__ = version("haiku-pipeline")

# ONNX Runtime, where an extra brings it along, would report each start to its makers and keep an
# identifier in the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
