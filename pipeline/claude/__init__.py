"""HOW the model is asked: client, limits, breaker, caches, prices, budget."""
