"""What is masked before a question leaves for a model, and put back into its answer. Pure.

- `masking`: `Masking` makes a `Masked` question by its stage's rules, which restores the response.
- `recognition`: the kinds of personal data, and where they stand in texts; `telephones`: the
  numbers that have no check digit; `numbers`: what both know of numbers and the words beside them.
- `checksums`: check digits of cards, bank accounts and national ids.

The gateway of `pipeline.claude` masks, so that nothing is asked by another way. docs/PRIVACY.md
says what is masked and what is not. Imports `model` only.
"""
