"""How the model is asked: every question of every stage passes through `gateway.Gateway`.

- `gateway`: from a question to a response.
- `response_cache`: answers that were paid, and identical questions under way, are asked once.
- `calls`: one call: wait, send, read what comes back, try again if it helps.
- `probes`: whether models can be asked, and what the API says of them.
- `limiter`, `rate_limits`, `breaker`: when a call may go; fair between stages.
- `model_ids`, `model_facts`: what models are called by each platform, and what is known of them.
  Pure.
- `billing`, `workloads`: what calls cost; what a workload costs before it is run.
- `failover`: which of two endpoints of a tier is asked. Pure. `routes`: how questions get there.
- `budget`: what may be spent, alone or shared with other processes. Pure.
- `waiting_tenants`: of whom nothing more is to be asked for now.
- `prompts`: what is learnt of each prompt: prompt cache, estimates, time-outs.
- `request_body`, `responses`, `failures`: what is sent, and what comes back means. Pure.
- `providers`: who serves Claude, and in what that differs. Pure.
- `client`, `connections`: bytes out, bytes back, and every failure a value.
- `credentials`: keys and tokens that change while the process runs.
- `redaction`: errors without what they repeat of an event. Pure.
- `request_groups`: several small events in one request.
- `message_batches`: answered within a day at half the price.

Imports `config`, `runtime` and `model`.
"""
