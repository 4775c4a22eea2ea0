"""WHAT is asked: one file a kind of event."""
