"""A backlog through message batches, at half the price: each batch once, each result once.

What makes it hold is a compacted topic with a record for each batch. A batch is claimed in the
transaction that commits the offsets of its events; it is sent only after a transaction that says
so; and its results go out in transactions that say how far they are. docs/BACKFILL.md tells the
whole story.
"""
