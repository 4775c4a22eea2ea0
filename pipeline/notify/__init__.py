"""What people are notified of by webhook: once when it begins, once when it ends.

- `conditions`: what there is to notify of. A new kind is a class with `conditions()`.
- `schedule`: what is due to be sent now; pure.
- `webhooks`: the shapes of messages, and delivering them.
- `watcher`: looks now and then, in the one process that leads.

Nothing of an event is in a notification: stages, reasons, counts, ages and places in a topic alone.
Imports `operators` and what lies below it.
"""
