"""Servers that check what the real platforms check, in front of the simulated API.

Each platform is a skin: how requests are authenticated, addressed and written, what is missing,
and how errors look. Answers, validation, rate limits, faults and the ledger are those of
`pipeline.local.simulated`. Written from the official SDK's clients, from botocore's own code and
from the platforms' public pages of October 2026; no cloud was reached. What those pages leave open
is said where it is decided.

`tests.platforms.running.running()` starts one with what hands out its credentials;
`python -m tests.platforms NAME` is the same as a program.
"""
