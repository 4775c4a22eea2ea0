"""What calls cost: `prices` of tokens, and `workloads` before they are run."""
