"""What all rooms share, without any I/O: records, questions, errors.

- `records`: the envelope of every topic, as pydantic models, and how to read third-party ones.
- `questions`: what a stage asks and what comes back; signals that speak against an answer.
- `errors`: the errors of the pipeline, each a type with a meaning.
- `observer`: what the rooms report to metrics and dashboard.
- `json_bytes`: JSON that is bounded before it is parsed, or passed on as the bytes that came.
- `printable`: text from outside, made fit for a terminal.

Imports no other room.
"""
