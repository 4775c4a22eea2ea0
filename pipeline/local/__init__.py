"""The embedded default: a broker and a simulated Messages API on this machine."""
