"""How a process lives and ends: background tasks, signals, the terminal, small databases.

- `background`: tasks that are missed at once when they end; iterating over what may block.
- `shutdown`: a process that is asked to end does so in time, and never outlives its parent.
- `console`: how commands run, what they say when they fail, how they show progress.
- `database`: a small SQLite file off the event loop.

Imports `model` only.
"""
