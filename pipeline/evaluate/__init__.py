"""Measuring a stage on labelled data: accuracy, cost, escalation curve.

- `labelled_events` reads the file and `comparison` says when a value is right; `evaluation` asks
  both tiers, through `recording`, so that no answer is paid for twice.
- `strategies` replays the cascade over the recorded answers, `measures` counts, `proposal` looks
  for a threshold that can be certified. All three are pure.
- `shadow` asks about real events by other settings, beside those in force; `blind_verdicts` is
  what people say of the differences, `promotion` puts a candidate in force.
- `report` says it: on a terminal, as JSON (`evaluation/2`) and as a page (`report.html`).
"""
