"""What is asked: one file for each kind of event.

- `tickets`, `invoices`, `images`, `texts`, `documents`, `requests`, `code`: the seven stages.
- `api`: what a stage is, which there are, and what one of your own is made of (docs/STAGES.md);
  `kit` is its earlier name.
- `checks/`: what speaks against an answer. `fields/`: prompts, labels, further fields, amounts,
  dates. `files/`: how raw records are read, and what is in a file.

A stage knows neither Kafka nor the API: it is data and pure functions. Imports `config`, `model`.
"""
