"""Fuzzing of what third parties can send: `python -m tests.fuzz` (make fuzz)."""
