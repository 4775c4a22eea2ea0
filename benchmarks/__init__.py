"""Measurements anyone can run; each prints what it measured and on what."""
