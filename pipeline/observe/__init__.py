"""What operators see: metrics, health, the status page, the log.

The rooms tell `Metrics` what happens; everything else here is a view of what it was told.
"""
