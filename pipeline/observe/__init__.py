"""What operators see: metrics, health, the dashboard, the log, traces.

- `catalogue`: every metric. `metrics`: what the rooms report, as metrics and as states.
- `dashboard`: what `/api/status` and `/readyz` say of it, from `readings` of the metrics.
- `web`: the HTTP port and the page. `logging`, `tracing`: the log, and traces of events.

Imports `config`, `runtime` and `model`.
"""
