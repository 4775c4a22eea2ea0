"""The engine: from the records of a partition to handlers and back, each exactly once. No I/O.

Brokers are known by `protocols` alone; `pipeline.kafka` has the real ones, `pipeline.testing` one
in memory.

- `engine`: puts the others together for one consumer group.
- `poller`, `intake`: when records are taken in.
- `partition_worker`, `workload`, `ledger`: one partition, from one commit to the next.
- `key_queues`, `handlers`: one record at a time for each key, and the slots that partitions share.
- `assignment`, `pacing`, `health`, `dead_letter_breaker`: rebalances, commits, and what goes wrong.

Imports `config` and `model`.
"""
