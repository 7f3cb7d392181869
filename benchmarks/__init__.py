"""Unrolled's CPU kernels beside what else runs a recurrent network, in one process.

``python -m benchmarks`` measures, and so does ``python -m benchmarks.figures``, what no peer is
needed for; ``python -m benchmarks.page`` writes ``docs/benchmarks.md``.

grid      the points (T, B, D, H), and which of them a peer is measured at
problems  a cell's tensors at one point
peers/    the contestants, ours among them, a module each
agreement outputs are compared before anything is timed
timing    turns that alternate, and what they say
limits    the machine's own limits, measured in the same run (limits.c)
work      what part of them a time reaches
machine   what the figures hold for; threads pinned alike
results   the JSON (stored: how any of it is written and read)
session   one run: compare, time, record
summary   geometric means beside the targets
figures/  the loop alone, first calls, overhead, training runs, …
verdict   a figure that was asked for and the one that was measured
memory, products   two measurements with files of their own
page, targets, memory_page, products_page, markdown, plots   the documentation
"""
