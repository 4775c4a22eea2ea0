"""Everything that speaks Kafka, over aiokafka: the brokers that `pipeline.stream` describes.

- `connection`, `errors`: how brokers are reached, and why they are not, in one sentence.
- `consumer`, `fetching`, `batches`, `inflating`: what is read, in bounded memory.
- `transactions`, `offsets`: what is published and committed, exactly once or at least once.
- `topics`, `delivery`: which topics there are, and what the brokers allow.
- `reader`, `lag`, `cluster`, `writer`: topics and groups seen from outside any group.

Imports `stream` for its protocols and records, `config` and `model`.
"""
