"""What people do with topics and single records, each record once: look, replay, decide.

- `dead_letters`, `review`: what waits for a person, and what comes of it.
- `desk`, `handled`: a record is dealt with once, whoever else works on it.
- `publish`, `tail`, `topics`, `lag`: topics as an administrator sees them.
"""
