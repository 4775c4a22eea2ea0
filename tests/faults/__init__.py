"""Fault runs on Apache Kafka: what must survive, made to happen, and audited."""
