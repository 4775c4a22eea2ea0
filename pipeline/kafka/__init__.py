"""Everything that speaks Kafka, over aiokafka: the real side of `pipeline.stream.protocols`.

`KafkaBrokers` (`brokers`) gives the engine its consumer, writers and offsets; the rest looks at
topics and groups without joining one, and `groups` moves one. aiokafka's privates are used in two
files only, `connection` and `fetching`; a test notices when a new version changes them. Imports
`stream`, `config`, `model`.
"""
