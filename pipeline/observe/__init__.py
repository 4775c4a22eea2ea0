"""What operators see: metrics, health, the dashboard, the log, traces.

The other rooms report to the observers in `metrics`; everything else here is a view of what was
reported. Imports `config`, `runtime` and `model`.
"""
