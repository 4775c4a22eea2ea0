"""Paying once: what was answered, what is being asked, and the prompts that the API keeps.

- `response_cache`: answers that were paid, in memory or in a file.
- `single_flight`: identical questions that are under way share one call.
- `prompt_cache`: the static parts of prompts, and the one request that warms each.
"""
