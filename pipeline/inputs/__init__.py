"""How the records of any topic become the raw events of a stage, and results other forms again.

A record is decoded by its format, mapped to the fields that the stage reads, and given to the
stage as JSON. A stage knows nothing of it. Imports `config`, `model`, and of `stages` what is in
`files`: the limits of JSON, the types of files, HTML as text.
"""
