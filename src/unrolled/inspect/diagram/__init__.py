"""Pictures of structure as SVG, drawn from the equations.

names     identifiers as they are typeset: W_ih as W with a subscript
boxes     what a cell's picture is made of
fold      which equations one box stands for
labels    what stands in a box
content   the boxes and wires of a Graph
layout    columns and rows: a layered drawing in three lanes
routing   wires at right angles between the columns
svg       the elements of all pictures: style, text, legend
cell      the picture of a cell
network   the network unrolled through time
"""

from unrolled.inspect.diagram.cell import cell_diagram
from unrolled.inspect.diagram.network import network_diagram

__all__ = ["cell_diagram", "network_diagram"]
