"""The stream's side of real brokers, over aiokafka."""
