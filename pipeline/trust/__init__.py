"""How often what is published is right: said with a stated confidence, from few labels.

- `certificates`: what labels prove of a share of errors, once or as they come, and how many are
  needed. Pure.
- `drift`: when labels say that it is no longer so. Pure.
- `score`: how likely an answer is wrong, by all its signals; `fitting` makes it of labels (the
  extra `trust`), which `labelled` reads from a file.
- `sampling`: which published answers are drawn by lot. Pure.
- `labelling`: which of them people are asked about, and what their verdicts weigh. Pure.
- `certificate_file`, `issuing`: a certificate, what it depends on, and making one. Pure.
- `live`, `distance`: what labels and answers that keep coming say of a certificate. Pure.
- `records`: what the topic `trust` holds: drawn answers, and verdicts on them.
- `verdicts`: labels read from a file, for `pipeline trust`.

A label is a person's verdict on one published answer. Imports `model`.
"""
