"""The recurrent layers that a configuration names: a drop-in or any cell, by name or file."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.errors import CellError, ModelError
from unrolled.models.cell_names import compose, is_composed
from unrolled.models.config import LayersConfig
from unrolled.nn import GRU, LSTM, RNN, Recurrent, weight_drop

Layers = Recurrent | RNN | GRU | LSTM

DROP_INS: Mapping[str, type[RNN] | type[GRU] | type[LSTM]] = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
"""Names that stand for the layers with torch's parameters; a loaded model needs no equations."""


def find_cell(name: str) -> Cell:
    """The cell called ``name``: one of ``unrolled.cells``, ``file.py:function``, or composed.

    Composed ones are calls of the functions of ``unrolled.combinators``, such as
    ``zoneout(layer_norm(lstm), c=0.1)``; see :mod:`unrolled.models.cell_names`. A file that
    is named is run, as ``import`` would.

    Raises:
        ModelError: where there is none.
        CellError: where the file holds a step function that is no cell, or a composition is
            refused.
    """
    if is_composed(name):
        return compose(name, find_cell)
    file, colon, function = name.rpartition(":")
    if colon:
        return _from_file(Path(file), function)
    if name in CELLS:
        return CELLS[name]
    names = sorted({*CELLS, *DROP_INS})
    close = difflib.get_close_matches(name, names, 3)
    advice = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)};"
    raise ModelError(f"there is no cell {name!r}: {advice} A cell of your own is file.py:function")


def _from_file(path: Path, function: str) -> Cell:
    if not path.is_file():
        raise ModelError(f"there is no file {path} to take the cell {function!r} from")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is no Python file: a cell is named as file.py:function")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except CellError:
        raise
    except Exception as error:
        raise ModelError(f"{path} can't be run: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if isinstance(found, Cell):
        return found
    there = sorted(key for key, value in vars(module).items() if isinstance(value, Cell))
    raise ModelError(
        f"{path} has no cell {function!r}: it has {', '.join(there) or 'none'}; a cell is a "
        "function with @unrolled.cell"
    )


def is_drop_in(config: LayersConfig) -> bool:
    """Whether the layers are a drop-in, which needs no equations to be built again."""
    return config.cell in DROP_INS and not config.learn_initial and config.checkpoint is None


def build(
    config: LayersConfig, input_size: int, cell: Cell | None = None, *, bidirectional: bool = False
) -> Layers:
    """Recurrent layers, time-major, whose states are tuples or a tensor as the cell has them.

    Args:
        config: What they are.
        input_size: D of the first layer.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.
        bidirectional: Whether each layer also reads the sequence from its end.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, or a drop-in is
            given sizes that it doesn't have.
        CellError: where the cell can't be built with these sizes.
        ValueError: where there is no such backend, or no matrix to drop weights of.
    """
    between = config.dropout if config.num_layers > 1 else 0.0
    if is_drop_in(config):
        if cell is not None:
            raise ModelError(
                f"the name {config.cell!r} stands for the drop-in layer: give the configuration of "
                "a model with a cell of your own another name"
            )
        if config.sizes:
            names = ", ".join(config.sizes)
            raise ModelError(f"the cell {config.cell} has no sizes {names}: leave them out")
        layers: Layers = DROP_INS[config.cell](
            input_size, config.hidden_size, config.num_layers, dropout=between,
            bidirectional=bidirectional, backend=config.backend,
        )  # fmt: skip
    else:
        layers = Recurrent(
            cell or find_cell(config.cell), input_size, config.hidden_size, config.num_layers,
            dropout=between, bidirectional=bidirectional, sizes=config.sizes,
            learn_initial=config.learn_initial, checkpoint=config.checkpoint,
            backend=config.backend,
        )  # fmt: skip
    for name, p in config.weight_dropout.items():
        layers = weight_drop(layers, name, p)
    return layers


def output_size(layers: Layers) -> int:
    """The length of the last layer's output."""
    if isinstance(layers, Recurrent):
        return layers.output_size
    return layers.hidden_size * (2 if layers.bidirectional else 1)


def state_shapes(layers: Layers, batch_size: int) -> tuple[tuple[int, int, int], ...]:
    """The shape of each state."""
    if isinstance(layers, Recurrent):
        return layers.state_shapes(batch_size)
    sizes = layers.cell.state_sizes({"D": layers.input_size, "H": layers.hidden_size})
    n_layers = layers.num_layers * (2 if layers.bidirectional else 1)
    return tuple((n_layers, batch_size, int(n)) for n in sizes)
