"""A backlog through message batches, at half the price: each batch once, each result once.

What makes it hold is a compacted topic with a record for each batch (`journal`). A batch is claimed
in the transaction that commits the offsets of its events (`partitions`); it is sent only after a
transaction that says so (`lane`); and its results go out in transactions that say how far they are
(`outcomes`). `attempt` connects all of it to real brokers and the real API, `progress` shows how
far it is. docs/BACKFILL.md has the whole story.
"""
