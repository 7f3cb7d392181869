"""``explain`` and ``graphs``: what they say is what runs."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.profiler import ProfilerActivity, profile

import unrolled.nn as un
from unrolled import cell, cells, lower, param
from unrolled.backends import BACKENDS
from unrolled.backends.cpu import sharing
from unrolled.backends.cpu.build import compiler
from unrolled.cell import Cell
from unrolled.nn import stock

ONEDNN = "aten::mkldnn_rnn_layer"


def kernels(module: torch.nn.Module, x: Any) -> set[str]:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        module(x)
    return {event.key for event in profiler.key_averages()}


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    ("module", "fused"),
    [
        (un.LSTM(3, 4), True),
        (un.LSTM(3, 4, 2, bias=False, bidirectional=True), True),
        (un.LSTM(3, 4, proj_size=2), False),
        (un.LSTM(3, 4, dtype=torch.float64), False),
        (un.GRU(3, 4), False),
        (un.RNN(3, 4), False),
    ],
    ids=str,
)
def test_the_kernel_on_the_cpu_is_the_one_that_runs(
    module: un.LSTM | un.GRU | un.RNN, fused: bool
) -> None:
    x = torch.randn(5, 2, 3, dtype=module.weight_ih_l0.dtype)  # pyright: ignore
    assert (ONEDNN in kernels(module, x)) is fused
    assert ("oneDNN's fused LSTM" in module.explain()) is fused
    assert ("ATen's loop" in module.explain().split("(for a")[0]) is not fused


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_a_packed_sequence_does_not_run_the_fused_kernel() -> None:
    module = un.LSTM(3, 4)
    packed = pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    assert ONEDNN not in kernels(module, packed)
    assert "for a PackedSequence, ATen's loop over time" in module.explain()


def test_torchs_kernels() -> None:
    assert un.GRU(3, 4, 2, backend="torch").explain() == (
        "all layers: backend 'torch', which was asked for\n"
        "  in float32 on cpu: ATen's loop over time, a matrix product and some elementwise "
        "kernels each step"
    )


def test_both_are_explained_where_the_call_decides() -> None:
    text = un.GRU(3, 4).explain()
    assert text.startswith(
        "all layers, sequences of 8 steps or more, and recorded: compiled, as below\n"
        "all layers, shorter sequences, and under autocast:\n"
        "all layers: backend 'torch', the fastest there\n"
    )
    assert "layer 0 (D=3, H=4): backend 'cpu'" in text


def test_what_cudnn_can_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def cudnn(mode: str, proj_size: int, weight: Tensor) -> stock.Kernel:
        return stock.Kernel("cuDNN", second_derivatives=False, backward_in_eval=False)

    monkeypatch.setattr(stock, "kernel", cudnn)
    assert un.LSTM(3, 4, backend="torch").explain().splitlines()[1:] == [
        "  in float32 on cpu: cuDNN",
        "  it has no second derivatives; backend='reference' has them",
        "  its backward pass needs .train(); backend='reference' has it after .eval()",
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_cudnn_runs_and_can_not_do_what_is_said(name: str) -> None:
    module = getattr(un, name)(3, 4, 2, device="cuda")
    x = torch.randn(5, 2, 3, device="cuda", requires_grad=True)
    assert "cuDNN" in module.explain()
    (d_x,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        d_x.sum().backward()
    with pytest.raises(RuntimeError, match="training mode"):
        module.eval()(x)[0].sum().backward()
    compiled = getattr(un, name)(3, 4, 2, device="cuda", backend="reference")
    compiled.load_state_dict(module.state_dict())
    y, expected = compiled.eval()(x)[0], module(x)[0]
    torch.testing.assert_close(y, expected)
    (d_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    d_x.sum().backward()


@pytest.mark.parametrize(
    "module",
    [
        un.Recurrent(cells.gru, 3, 4, 3),
        un.GRU(3, 4, 3, backend="reference"),
    ],
    ids=["Recurrent", "drop-in"],
)
def test_layers_of_one_size_share_graph_and_plan(module: un.Recurrent | un.GRU) -> None:
    first, second = module.graphs()
    assert [int(g.inputs[0].shape[0]) for g in (first, second)] == [3, 4]
    assert [g.name for g in (first, second)] == ["gru", "gru"]
    heads = [line for line in module.explain().splitlines() if line.startswith("layer")]
    asked = module.backend == "reference"
    backend = "reference" if asked else "cpu"
    reason = "which was asked for" if asked else "the first of those that can run this plan"
    assert heads == [
        f"layer 0 (D=3, H=4): backend '{backend}', {reason}",
        f"layers 1, 2 (D=4, H=4): backend '{backend}', {reason}",
    ]
    # One plan, as both print the same.
    assert module.explain().count("forward gru:") == 1
    assert module.explain().count("reverse gru, reversed:") == 1


def test_graphs_of_a_drop_in_do_not_depend_on_the_backend() -> None:
    compiled = un.LSTM(3, 4, proj_size=2, backend="reference")
    assert un.LSTM(3, 4, proj_size=2).graphs() == compiled.graphs()


needs_a_compiler = pytest.mark.skipif(compiler() is None, reason="no C compiler here")

AROUND_A_GRU = """\
as 'cpu' runs it:
  loops: C, compiled for this processor; explain(code=True) prints it
  products around them, each over all T*B rows at once:
    before the forward loop: v1[3*H] = matmul(W_ih, x)
    after the reverse loop: v20[2*H, H] = total_outer(v19, h)
    after the reverse loop: v21[H, H] = total_outer(d_v15, h)
    after the reverse loop: v23[D] = matmul(v2, d_v1)
    after the reverse loop: v24[3*H, D] = total_outer(d_v1, x)
    by the loops' own packed microkernels, whatever the sizes; python -m benchmarks.products times
    MKL and oneDNN beside them
"""
OWN = "takes examples of its own through all of time, at most 64 at once"


@pytest.fixture
def threads() -> Any:
    """Sets torch's number of threads until the test's end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@needs_a_compiler
def test_how_the_cpu_backend_runs_a_plan(threads: Any) -> None:
    threads(2)
    text = un.Recurrent(cells.gru, 3, 4).explain()
    assert text.endswith(f"{AROUND_A_GRU}  2 threads: each {OWN}, without barriers")
    threads(1)
    text = un.Recurrent(cells.gru, 3, 4).explain()
    assert text.endswith(f"{AROUND_A_GRU}  1 thread: it {OWN}")


@needs_a_compiler
@pytest.mark.parametrize("number", [2, 3])
def test_who_shares_what_is_what_the_cost_model_says(threads: Any, number: int) -> None:
    threads(number)
    text = un.LSTM(16, 512, backend="cpu").explain()
    work = sharing.Work(4 * 512 * 512, 20 * 512)
    split = [b for b in range(1, 200) if sharing.share(1000, b, work, number).split]
    assert split == list(range(1, max(split) + 1))
    assert text.endswith(
        f"  {number} threads: at B=1 to {max(split)} they share the columns of every product, with "
        "barriers\n    around it: there that takes less time; at any other B each\n"
        f"    {OWN}, without barriers"
    )


@needs_a_compiler
def test_all_products_of_a_step_count(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads(2)
    projected = un.Recurrent(cells.lstm_projected, 8, 16, sizes={"P": 4})
    work = 4 * 16 * 4 + 4 * 16
    asked: list[int] = []

    def share(n_steps: int, n_examples: int, work: sharing.Work, threads: int) -> sharing.Shares:
        asked.append(work.weights)
        return sharing.Shares(n_examples in (1, 2, 3, 5), 1, threads)

    monkeypatch.setattr(sys.modules["unrolled.backends.cpu.explain"], "share", share)
    assert "at B=1 to 3, 5 they share" in projected.explain()
    assert work in asked


STEP_BY_STEP = (
    "as 'reference' runs it:\n  each equation is one call to torch: around the loops over all "
    "steps, in them at every step"
)


def test_how_the_reference_backend_runs_a_plan() -> None:
    module = un.Recurrent(cells.gru, 3, 4, backend="reference")
    assert module.explain().endswith(STEP_BY_STEP)
    assert module.explain(code=True) == module.explain() + (
        "\n\ncode of the forward loop, layer 0: none is generated"
        "\n\ncode of the reverse loop, layer 0: none is generated"
    )


SCANNED = """
  linear in the state: a parallel scan runs {loops} on all steps at once, in O(log T)
    calls, from 16 steps on; on the CPU where the states of a step are 1024 numbers
    at most: beyond that a step's work outweighs its calls"""
WALKED = """
  linear in the state, but walked step by step: nothing keeps the factors of the state
    within -1 and 1, and products of many, which a scan forms, could overflow"""


@cell
def growing(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    """Linear, with factors of any size."""
    return (W @ x) * h


@pytest.mark.parametrize("of", [cells.mingru, cells.minlstm, cells.sru], ids=lambda c: c.name)
def test_how_the_reference_backend_runs_a_linear_cell(of: Cell) -> None:
    module = un.Recurrent(of, 3, 4, backend="reference")
    assert "\nlinear in the state: " in module.explain()
    assert module.explain().endswith(STEP_BY_STEP + SCANNED.format(loops="both loops"))
    plan = lower(of.graph(of.resolve_sizes(3, 4)))
    assert BACKENDS["reference"].explain(plan) == STEP_BY_STEP + SCANNED.format(loops="the loop")


def test_why_a_linear_cell_is_walked() -> None:
    text = un.Recurrent(growing, 3, 4, backend="reference").explain()
    assert text.endswith(STEP_BY_STEP + WALKED)


@needs_a_compiler
@pytest.mark.parametrize("of", [cells.mingru, growing], ids=lambda c: c.name)
def test_how_the_cpu_backend_runs_a_linear_cell(of: Cell) -> None:
    assert (
        "as 'cpu' runs it:\n"
        "  loops: C, compiled for this processor; explain(code=True) prints it\n"
        "  linear in the state: the loops are one pass over its coefficients, which a copy in "
        "memory bounds;\n    a scan over time would pass over them several times\n"
        "  products around them, each over all T*B rows at once:\n"
    ) in un.Recurrent(of, 3, 4, backend="cpu").explain()


@needs_a_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "make",
    [
        lambda dtype: un.Recurrent(cells.gru, 5, 4, 3, bidirectional=True, dtype=dtype),
        lambda dtype: un.GRU(5, 4, 3, backend="cpu", dtype=dtype),
        lambda dtype: un.GRU(5, 4, 3, dtype=dtype),
    ],
    ids=["Recurrent", "drop-in", "drop-in-auto"],
)
def test_code_is_what_is_compiled(make: Any, dtype: torch.dtype) -> None:
    """Once for all layers that share it, in the user's names beside the user's lines."""
    module = make(dtype)
    text = module.explain(code=True)
    assert text.replace("\n  it is a part of torch: no code is generated", "").startswith(
        module.explain()
    )
    titles = [line for line in text.splitlines() if line.startswith("code of")]
    assert titles == [
        "code of the forward loop, layers 0, 1, 2:",
        "code of the reverse loop, layers 0, 1, 2:",
    ]
    forward, reverse = text.split("code of the forward loop")[1].split("code of the reverse loop")
    assert "const real z = SIGMOID(v14);" in forward
    assert "// v5[3*H] = matmul(W_hh, h)   grus.py:" in forward
    assert "const real d_z = " in reverse
    for part in (forward, reverse):
        assert part.count("static void run_share(") == 1
        assert "/*{" not in part


@cell
def summing(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    """Its loop reads the input itself."""
    return torch.tanh(W @ x + x.sum() * h)


@needs_a_compiler
def test_layers_whose_code_differs_have_each_their_own() -> None:
    """One plan, as it prints sizes by name; C has numbers."""
    text = un.Recurrent(summing, 5, 4, 3).explain(code=True)
    assert text.count("forward summing:") == 1
    for direction in ("forward", "reverse"):
        assert f"code of the {direction} loop, layer 0:" in text
        assert f"code of the {direction} loop, layers 1, 2:" in text


def test_torchs_kernels_have_no_code_to_show() -> None:
    module = un.GRU(3, 4, backend="torch")
    assert module.explain(code=True) == module.explain() + (
        "\n  it is a part of torch: no code is generated"
    )


def test_code_is_for_two_dtypes() -> None:
    module = un.Recurrent(cells.gru, 3, 4, dtype=torch.bfloat16)
    with pytest.raises(
        TypeError,
        match=r"^the parameters are torch\.bfloat16, and code is generated for torch\.float32 "
        r"and torch\.float64$",
    ):
        module.explain(code=True)
