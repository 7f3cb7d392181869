"""Exported layers in ONNX Runtime equal the layers, each example run alone for its own length."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

import unrolled as ur
from layer_samples import KINDS
from onnx_models import Arrays, Session, assert_close, rounding
from unrolled import cells
from unrolled.interop.onnx import export
from unrolled.interop.onnx.standard import REASONS, TABLE

D, H, OTHERS = 3, 5, {"P": 2, "O": 4}
LENGTHS = (4, 1, 7, 6)

VARIANTS = {
    **cells.CELLS,
    "rnn relu": cells.rnn.bind(nonlinearity="relu"),
    "elman sigmoid": cells.elman.bind(nonlinearity="sigmoid"),
    "elman identity": cells.elman.bind(nonlinearity="identity"),
    "lstm without biases": cells.lstm.bind(b_ih=0.0, b_hh=0.0),
    "gru_cho, b at 0.5": cells.gru_cho.bind(b=0.5),
    "janet, beta 0.5": cells.janet.bind(beta=0.5),
}
STANDARD = {name for name, cell in VARIANTS.items() if cell.function in TABLE} - {"elman identity"}


def layer(cell: ur.Cell, num_layers: int = 1, **options: Any) -> ur.Recurrent:
    torch.manual_seed(0)
    others = {k: v for k, v in OTHERS.items() if k in cell.size_names()}
    return ur.Recurrent(cell, D, H, num_layers, sizes=others, backend="reference", **options)


def each_alone(module: Any, x: Tensor, lengths: Any, states: list[Tensor] | None) -> Arrays:
    """The results of [T, B, D], each example alone for its own number of steps."""
    y = torch.zeros(*x.shape[:2], module.output_size, dtype=x.dtype)
    finals: list[list[Tensor]] = []
    for b, n in enumerate(lengths):
        given: Any = None if states is None else tuple(s[:, b : b + 1].contiguous() for s in states)
        if given is not None and not isinstance(module, (ur.Recurrent, ur.LSTM)):
            (given,) = given
        own = x[:n, b : b + 1].contiguous()
        found, final = module(own.transpose(0, 1) if module.batch_first else own, given)
        y[:n, b] = found.detach().reshape(n, -1)
        finals.append([final] if isinstance(final, Tensor) else list(final))
    names = ["h", "c"] if not isinstance(module, ur.Recurrent) else [
        s.name for s in module.cell.states
    ]  # fmt: skip
    last = {
        f"{name}_n": torch.cat(parts, 1).detach().numpy()
        for name, parts in zip(names, zip(*finals, strict=True), strict=False)
    }
    return {"y": y.numpy(), **last}


def check(module: Any, *, lengths: bool, initial_states: bool, nodes: Any) -> onnx.ModelProto:
    """Compare a layer with its model on several T and B."""
    model = export(module, lengths=lengths, initial_states=initial_states, nodes=nodes)
    session = Session(model)
    dtype = next(module.parameters()).dtype
    rows = module.num_layers * (2 if module.bidirectional else 1)
    for T, B in ((7, 4), (1, 1), (3, 2)):
        x = torch.randn(T, B, D, dtype=dtype)
        ends = [min(n, T) for n in LENGTHS[:B]] if lengths else [T] * B
        names = [n.removesuffix("_n") for n in session.outputs[1:]]
        sizes = [o.type.tensor_type.shape.dim[2].dim_value for o in model.graph.output[1:]]
        states = [torch.randn(rows, B, n, dtype=dtype) for n in sizes] if initial_states else None
        feed = {"x": (x.transpose(0, 1) if module.batch_first else x).numpy()}
        feed |= {"lengths": np.array(ends, np.int64)} if lengths else {}
        for name, state in zip(names, states or (), strict=False):
            feed[f"{name}_0"] = state.numpy()
        assert set(session.inputs) == set(feed)
        theirs = session(feed)
        if module.batch_first:
            theirs["y"] = theirs["y"].swapaxes(0, 1)
        ours = each_alone(module, x, ends, states)
        numpy_type = np.float32 if dtype is torch.float32 else np.float64
        largest = max(float(np.abs(a).max()) for a in (x.numpy(), *ours.values()))
        bound = rounding(numpy_type, T, 2 * H + D + H + 2, largest, module.num_layers)
        assert_close(theirs, ours, bound)
    return model


def ops(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


FORMS: dict[str, dict[str, Any]] = {
    "forward": {},
    "bidirectional": {"bidirectional": True, "initial_states": True},
    "lengths": {"bidirectional": True, "batch_first": True, "lengths": True},
    "two layers": {"num_layers": 2, "bidirectional": True, "lengths": True, "initial_states": True},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_scan_of_the_equations(name: str, form: str) -> None:
    options = dict(FORMS[form])
    asked = {k: options.pop(k, False) for k in ("lengths", "initial_states")}
    module = layer(VARIANTS[name], dtype=torch.float64, **options)
    model = check(module, nodes="scan", **asked)
    assert ops(model) & {"Scan", "RNN", "GRU", "LSTM"} == {"Scan"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(STANDARD))
def test_standard_nodes(name: str, form: str) -> None:
    options = dict(FORMS[form])
    asked = {k: options.pop(k, False) for k in ("lengths", "initial_states")}
    model = check(layer(VARIANTS[name], **options), nodes="standard", **asked)
    (op,) = ops(model) & {"Scan", "RNN", "GRU", "LSTM"}
    assert op != "Scan"


@pytest.mark.parametrize("form", ["forward", "two layers"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_drop_ins(kind: str, bias: bool, form: str) -> None:
    name, more = KINDS[kind]
    options = dict(FORMS[form])
    asked = {k: options.pop(k, False) for k in ("lengths", "initial_states")}
    torch.manual_seed(1)
    module = getattr(ur, name)(D, H, bias=bias, backend="reference", **more, **options)
    model = check(module, nodes="auto", **asked)
    op = "Scan" if kind == "lstm-proj" else name
    assert ops(model) & {"Scan", "RNN", "GRU", "LSTM"} == {op}


# Onnx's own evaluator knows no other function than tanh.
@pytest.mark.parametrize("name", sorted(STANDARD - {"rnn relu", "elman sigmoid"}))
def test_standard_nodes_by_the_standards_own_evaluator(name: str) -> None:
    """In float64, which ONNX Runtime's nodes lack."""
    module = layer(VARIANTS[name], bidirectional=True, dtype=torch.float64)
    x = torch.randn(7, 4, D, dtype=torch.float64)
    model = export(module, nodes="standard")
    names = [value.name for value in model.graph.output]
    theirs = dict(zip(names, ReferenceEvaluator(model).run(None, {"x": x.numpy()}), strict=True))
    ours = each_alone(module, x, [7] * 4, None)
    largest = max(float(np.abs(a).max()) for a in (x.numpy(), *ours.values()))
    assert_close(theirs, ours, rounding(np.float64, 7, D + H + 2, largest))


def test_auto_takes_standard_nodes_where_runtimes_have_them() -> None:
    assert "LSTM" in ops(export(layer(cells.lstm)))
    assert "Scan" in ops(export(layer(cells.lstm, dtype=torch.float64)))
    assert "Scan" in ops(export(layer(cells.sru)))
    # A relu is every runtime's, the identity is not.
    assert "RNN" in ops(export(layer(VARIANTS["rnn relu"])))
    assert "Scan" in ops(export(layer(VARIANTS["elman identity"])))


def test_every_cell_is_a_node_or_has_a_reason_or_other_equations() -> None:
    named = {c.function for c in cells.CELLS.values()}
    assert set(TABLE) | set(REASONS) <= named
    assert not set(TABLE) & set(REASONS)
    assert len(TABLE) == 14


def test_the_products_with_x_leave_the_loop() -> None:
    """In the body is the product with the state alone; the weights are constants outside."""
    model = export(layer(cells.lstm), nodes="scan")
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    (body,) = [a.g for a in scan.attribute if a.name == "body"]
    assert sum(node.op_type == "MatMul" for node in body.node) == 1
    assert sum(node.op_type == "MatMul" for node in model.graph.node) == 1
    assert not body.initializer


@ur.cell
def of_old_states(x, h, c=ur.state("2*H"), *, b=ur.param("H")):
    """A state that nothing changes, one that becomes a parameter, and an output of old states."""
    return torch.cat([h, c]) * 2, (b * b, c)


@ur.cell
def of_parameters(x, h, *, b=ur.param("H")):
    """An output and a state that are the same at every step."""
    return b.exp(), (torch.tanh(b),)


@pytest.mark.parametrize("cell", [of_old_states, of_parameters], ids=lambda cell: cell.name)
@pytest.mark.parametrize("lengths", [False, True])
def test_results_that_do_not_vary_and_states_that_stay(cell: ur.Cell, lengths: bool) -> None:
    module = layer(cell, dtype=torch.float64, bidirectional=True)
    check(module, lengths=lengths, initial_states=True, nodes="auto")


def test_a_cell_of_saved_equations() -> None:
    own = layer(cells.mingru, dtype=torch.float64)
    saved = layer(ur.Cell.from_graphs(own.graphs()), dtype=torch.float64)
    check(saved, lengths=True, initial_states=True, nodes="auto")


def test_the_model_is_written_to_a_file(tmp_path: Any) -> None:
    path = tmp_path / "layer.onnx"
    model = export(layer(cells.gru), path)
    assert onnx.load_model(str(path)) == model
    assert model.producer_name == "unrolled"
    dims = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["T", "B", D]


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "another module": (
        lambda: export(torch.nn.LSTM(3, 5)),
        TypeError,
        "expected an unrolled.Recurrent, RNN, GRU or LSTM, got torch.nn.modules.rnn.LSTM; "
        "ur.from_torch(module) makes ours of torch.nn's three, ur.convert(model) of all in a model",
    ),
    "a dtype": (
        lambda: export(ur.LSTM(3, 5).bfloat16()),
        TypeError,
        "the parameters are torch.bfloat16, expected torch.float32 or torch.float64; convert the "
        "layer: layer.float()",
    ),
    "nodes": (
        lambda: export(ur.LSTM(3, 5), nodes="loop"),  # type: ignore[arg-type]
        ValueError,
        "nodes='loop': expected 'auto', 'standard' or 'scan'",
    ),
    "a projection": (
        lambda: export(ur.LSTM(3, 5, proj_size=2), nodes="standard"),
        ValueError,
        "cell lstm_projected is no standard ONNX node: ONNX's LSTM has no projection; nodes='scan' "
        "writes its equations",
    ),
    "old peepholes": (
        lambda: export(layer(cells.lstm_peephole), nodes="standard"),
        ValueError,
        "cell lstm_peephole is no standard ONNX node: the output gate of ONNX's LSTM sees the cell "
        "state after the step, this cell's the one before it; nodes='scan' writes its equations",
    ),
    "other equations": (
        lambda: export(layer(cells.sru), nodes="standard"),
        ValueError,
        "cell sru is no standard ONNX node: ONNX has no node with these equations; nodes='scan' "
        "writes its equations",
    ),
    "an activation": (
        lambda: export(layer(VARIANTS["elman identity"]), nodes="standard"),
        ValueError,
        "cell elman is no standard ONNX node: identity is no activation that every runtime has; "
        "nodes='scan' writes its equations",
    ),
}


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("nodes", ["auto", "scan"])
@pytest.mark.parametrize("name", ["lstm", "lstm_layer_norm", "sru", "elman_output"])
def test_a_model_holds_what_it_reads_and_no_more(name: str, nodes: Any) -> None:
    model = export(layer(cells.CELLS[name], bidirectional=True), lengths=True, nodes=nodes)
    bodies = [a.g for node in model.graph.node for a in node.attribute if a.name == "body"]
    every = [node for graph in (model.graph, *bodies) for node in graph.node]
    read = {name for node in every for name in node.input}
    read |= {value.name for graph in (model.graph, *bodies) for value in graph.output}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    assert {name for node in every for name in node.output} <= read
