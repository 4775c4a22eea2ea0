"""How the model is asked: every question of every stage passes through `gateway.Gateway`.

- `gateway`, `calls`: one call: wait for a turn, send, judge what comes back, try again if it helps.
- `client`, `connections`, `http`: bytes out, bytes back, and every failure a value.
- `requests`, `responses`, `answer_json`: what is sent and what an answer means. Pure.
- `failures`, `attempts`: whether to wait, to wait for a person, or to give a request up.
- `request_groups`, `joint_requests`: several small events in one request.
- `batches`, `batch`: message batches, answered within a day at half the price.
- `limits/`, `cache/`, `billing/`: when a call may go, what need not be asked again, what it costs.

Imports `config`, `runtime` and `model`.
"""
