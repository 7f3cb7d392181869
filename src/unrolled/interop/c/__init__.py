"""Plain C99 for one step of a cell, a stack of layers or a language model.

The chain: ``network`` (what is exported, in one form), ``prepare`` (the equations that are left,
and what is fixed), ``arrange`` (loops and moves), ``storage`` (which memory), ``function`` (text of
one layer), ``program`` (all layers), ``source``, ``blob`` and ``check`` (the files).
"""

from unrolled.interop.c.export import export

__all__ = ["export"]
