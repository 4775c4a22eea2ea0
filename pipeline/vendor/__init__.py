"""Other people's browser code, unchanged, each with its licence: pages work without a network."""
