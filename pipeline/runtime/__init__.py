"""How a process lives and ends: background tasks, signals, the terminal, small databases.

- `process`: tasks and threads beside the event loop; a process that is asked to end does so in
  time, and never outlives its parent.
- `console`: how commands run, what they print when they fail, how they show progress.
- `database`: a small SQLite file off the event loop.
- `tokens`: what proves who asks and expires, fetched again in time.

Imports `model` only.
"""
