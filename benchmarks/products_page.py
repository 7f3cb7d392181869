"""What the page says of the products around the loop, from ``python -m benchmarks.products``."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.markdown import table
from benchmarks.products import PRODUCTS, Row
from benchmarks.summary import geometric_mean

LIBRARIES = {"mkl": "MKL (`torch.mm`)", "onednn": "oneDNN"}


def section(rows: Sequence[Row]) -> str:
    """By product and library, their time over ours: the mean, and the points at its ends."""
    body: list[tuple[str, ...]] = []
    for product in PRODUCTS:
        for library, title in LIBRARIES.items():
            of = [(getattr(r, library), r) for r in rows if r.product == product]
            ratios = {r: ratio.median for ratio, r in of if ratio is not None}
            if ratios:
                least = min(ratios, key=lambda row: ratios[row])
                body.append(
                    (
                        product,
                        title,
                        str(len(ratios)),
                        f"**{geometric_mean(ratios.values()):.2f}**",
                        f"{ratios[least]:.2f} at {least.cell}, {least.point}",
                        f"{max(ratios.values()):.2f}",
                        f"{min(r.gflops for r in ratios):.0f} to "
                        f"{max(r.gflops for r in ratios):.0f}",
                    )
                )
    header = ("product", "beside", "points", "times faster, mean", "least", "most", "our GFLOP/s")
    return table(header, body)
