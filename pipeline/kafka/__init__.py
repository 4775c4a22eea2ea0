"""Everything that speaks Kafka, over aiokafka: the real side of `pipeline.stream.protocols`.

`KafkaBrokers` (`brokers`) gives the engine its consumer, writers and offsets. Around it are means
to look at topics and groups without joining one. aiokafka trusts what brokers send and has no end
to some of its waits; where its privates are replaced or used for that, one file does it for each:
`connection` for connections and producers, `fetching` for the fetcher. A test notices when a new
version of aiokafka changes them.

Imports `stream` for its protocols and records, `config` and `model`.
"""
