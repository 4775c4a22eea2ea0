"""HOW events move: consumer, offset ledger, key lanes, publisher, topics, lag."""
