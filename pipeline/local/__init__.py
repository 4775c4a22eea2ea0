"""What runs on one machine alone: brokers, a simulated Messages API, the demo.

- `demo`, `day`, `screen`, `accounting`: a day of events, and what became of each.
- `environment`: brokers and API together, for `pipeline local`, the demo and tests.
- `broker`, `apache`, `child`: brokers as child processes.
- `simulated/`: the API.
"""
