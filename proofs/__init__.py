"""Data and settings of what stands in docs/results.md."""
