"""The op table: everything that may stand in a Graph.  See :mod:`unrolled.ops.table`."""

from unrolled.ops import elementwise, products, structure
from unrolled.ops.table import TABLE, Cost, Op

__all__ = ["TABLE", "Cost", "Op", "elementwise", "products", "structure"]
