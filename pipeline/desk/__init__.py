"""The desk: the page on which people settle what neither model could.

- `server`: the port, the page's files, one table of routes with the role that each needs.
- `access`: the ways in: who asks, and whether a request may have what it asks for.
- `routes`: what a route and a view are, and how answers and errors look.
- `review`: the view of review items, of these parts:
  - `queue`: which wait, by small entries that are kept current from the topics;
  - `case`: what is shown of one, with `forms`, from the stage's schema, and `pages`, pictures of
    its file that are drawn in the decoders;
  - `claims`: who works on which; `verdicts`: what was decided, until it is published.
- `page/`: what the browser gets, ES modules without a build step; `main.js` says what a view is.

Verdicts are published by `pipeline.operators.review`, as those of the command are: each once.
Imports `operators` and what lies below it.
"""
