"""Data and settings of what stands in docs/results.md."""
"""Proofs: what the tasks reach on public data, and where that data comes from."""
