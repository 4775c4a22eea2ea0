"""Kafka events enriched by Claude: Haiku answers the routine, Sonnet the ambiguous."""

from importlib.metadata import version

__version__ = version("haiku-pipeline")
