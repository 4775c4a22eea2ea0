"""The engine: from the records of a partition to handlers and back, each exactly once. No I/O.

Brokers are known by `protocols` alone; `pipeline.kafka` has the real ones, `pipeline.testing` one
in memory.

- `engine`: puts the others together for one consumer group.
- `intake`, `dead_letter_breaker`: how many records are taken in, from which partitions.
- `partition_worker`, `workload`, `ledger`: one partition, from one commit to the next; rebalances.
- `handlers`: the calls, and the slots that partitions share.
- `monitor`: what waits, and what goes wrong.

Imports `config` and `model`.
"""
