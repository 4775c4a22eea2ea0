"""Measuring a stage on labelled data: accuracy, cost, escalation curve.

- `evaluation` runs it: `labels` in, `asking` and `recording` of answers, `document` out.
- `strategies`, `measures`, `curves`: what the cascade, one tier alone and other thresholds cost.
- `proposal`, `verdict`, `comparison`: which thresholds to take, and whether they hold.
- `report/`: all of it as one page of HTML.
"""
