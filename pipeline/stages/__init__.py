"""What is asked: one file for each kind of event.

- `tickets`, `invoices`, `images`, `texts`, `documents`, `requests`, `code`: the seven stages.
- `api`: what a stage is made of, for stages of one's own; docs/STAGES.md shows how.
- `stage`, `registry`: what a stage is, and which there are.
- `checks/`: what speaks against an answer. `fields/`: labels, further fields, amounts, dates.
- `files/`: what is in a file, and how raw records are read.

A stage knows neither Kafka nor the API: it is data and pure functions. Imports `config`, `model`.
"""
