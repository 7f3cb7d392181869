"""``explain`` and ``graphs``: what they say is what runs."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from torch.profiler import ProfilerActivity, profile

import unrolled.nn as un
from unrolled import cells
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
        "all layers, padded sequences of 8 steps or more: compiled, as below\n"
        "all layers, shorter or packed sequences, and under torch's transforms:\n"
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
