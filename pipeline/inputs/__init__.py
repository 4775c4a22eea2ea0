"""How the records of any topic become the raw events of a stage, and results other forms again.

A record is decoded by its format, mapped to the fields that the stage reads, and given to the
stage as JSON. A stage knows nothing of it.

- `adapter`: from a record to what the stage parses. `mapping`: its fields, by expressions.
- `formats`: which format a stage's records come in: `cloudevents`, `debezium`, `mail`,
  `plain_text`, or `framing`: those of a schema registry, read by `avro` and `protobuf`; `registry`
  is the client.
- `outputs`: what is published of a result. `result_types`: what it is made of, and the flat record;
  `result_schemas`: its schemas in a registry's formats.

Imports `config`, `model`, and of `stages` what is in `files`: the limits of JSON, the types of
files, HTML as text.
"""
