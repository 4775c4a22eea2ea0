"""Who may call a model, and when.

- `limiter`: the queue in front of one model.
- `rate_limits`: the API's limits, learnt from its headers and shared by replicas.
- `breaker`: stops calls while they cannot succeed.
- `fairness`: no stage holds up the others; how many calls are in flight at once.
- `budget`: dollars for each hour and day, kept over restarts.
"""
