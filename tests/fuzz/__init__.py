"""Fuzzing of what strangers can send: `python -m tests.fuzz` (make fuzz)."""
