"""Answers in place of a model, from a request's own schema and content, by rules on this machine.

What is known here is language: words that mean alike, what dates, amounts and addresses look like,
which words stand beside a total or a due date. Nothing is known of any stage, taxonomy or sample.
"""
