"""What happens to one event: read it, ask a tier, decide, escalate, publish.

- `processor`: the whole flow, which both tiers share, from top to bottom. Start here.
- `reading`: how events come in: records, questions, files, and the guard around a stage's code.
- `deciding`: one tier is asked, its answer checked, and accepted or doubted. `parts`: an event that
  holds several documents.
- `policy`: signals and thresholds in, doubts out; the audit sample, second opinions. Pure.
- `publishing`: what goes out: results, escalations, review items, dead letters.
- `sampler`: published answers that are drawn by lot go to the topic `trust`, too. `feedback`: what
  consumers correct becomes labels there.
- `spending`: one budget for all processes, by a compacted topic.
- `cap`: how much is escalated. `prompt_sizes`: whether prompts are long enough to be cached.

Imports `claude`, `stages`, `observe`, `kafka` and what is below them.
"""
