"""Proofs: what the tasks reach on public data, and where that data comes from."""
