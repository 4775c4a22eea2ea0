"""A broker in memory, behind the same protocols as the real ones, for tests."""
