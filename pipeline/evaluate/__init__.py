"""Measuring a stage on labelled data: accuracy, cost, escalation curve."""
