"""What is exported from what, how it reads, and every reason for which nothing is."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from c_programs import Exported, library, run_test
from tiny_models import tiny
from unrolled import GRU, LSTM, CellError, Recurrent, cell, param, state, zoneout
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.errors import DataError, UserError
from unrolled.interop.c import export
from unrolled.interop.c.arrange import arrange
from unrolled.interop.c.names import RESERVED, Names, identifier
from unrolled.interop.c.network import read
from unrolled.interop.c.prepare import prepare
from unrolled.interop.c.program import build
from unrolled.interop.c.samples import sample
from unrolled.interop.c.source import header, source
from unrolled.interop.c.storage import store
from unrolled.ir import Equation, Graph, Output, Var
from unrolled.models import LanguageModel, LanguageModelConfig

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "c"


def counting() -> Recurrent:
    """A GRU whose weights are short numbers, without source lines, which move with every edit."""
    gru = CELLS["gru_cho"]
    graph = gru.graph(gru.resolve_sizes(2, 3))
    equations = tuple(replace(e, location=None) for e in graph.equations)
    layer = Recurrent(Cell.from_graphs([replace(graph, equations=equations)]), 2, 3)
    with torch.no_grad():
        for k, p in enumerate(layer.parameters()):
            p.copy_(torch.arange(p.numel()).reshape(p.shape) / 8 - k)
    return layer


@pytest.mark.parametrize("by_blob", [False, True])
def test_the_text_of_a_cell(by_blob: bool, request: pytest.FixtureRequest) -> None:
    """See CONTRIBUTING.md for how to write it anew."""
    program = build(read(counting(), None, None), "gru", ())
    kind = "blob" if by_blob else "array"
    for text, name in ((header(program, by_blob), "h"), (source(program, by_blob), "c")):
        path = GOLDEN / f"gru_{kind}.{name}.txt"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")


# --- what is exported


def first_step(files: list[Path], model: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """The first output, and x, of an exported network in its own library."""
    network = read(model, options.get("parameters"), None)
    program = build(network, files[0].stem, ())
    x = torch.linspace(-1, 1, program.network.input_size)
    exported = Exported(library([files[0]], files[0].with_suffix(".so")), program)
    return exported.step(x)[0], x


def test_a_cell_with_its_parameters(tmp_path: Path) -> None:
    gru = CELLS["gru_no_bias"]
    shapes = gru.parameter_shapes({"D": 3, "H": 5})
    parameters = {n: torch.rand(tuple(map(int, s))) - 0.5 for n, s in shapes.items()}
    files = export(gru, tmp_path, parameters=parameters)
    assert [f.name for f in files] == ["gru_no_bias.c", "gru_no_bias.h", "gru_no_bias_test.c"]
    assert run_test(files).returncode == 0
    y, x = first_step(files, gru, parameters=parameters)
    expected = gru(x, torch.zeros(5), **parameters)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)


def test_parametrized_weights_are_what_the_layer_computes_with(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = nn.utils.parametrizations.weight_norm(GRU(3, 5), "weight_hh_l0")
    ours = nn.utils.parametrizations.weight_norm(Recurrent(CELLS["gru"], 3, 5), "W_hh_l0")
    for name, layer in (("theirs", theirs), ("ours", ours)):
        with torch.no_grad():
            [norm] = [p for n, p in layer.named_parameters() if n.endswith("original0")]
            norm.mul_(2)
        files = export(layer, tmp_path, name)
        assert run_test(files).returncode == 0
        y, x = first_step(files, layer)
        torch.testing.assert_close(y, layer(x[None])[0][0], rtol=0, atol=1e-6)


def test_training_and_dropout_make_no_difference(tmp_path: Path) -> None:
    layer = LSTM(3, 5, 2, dropout=0.5)
    texts: list[list[str]] = []
    for training in (True, False):
        files = export(layer.train(training), tmp_path)
        texts.append([f.read_text() for f in files])
        assert layer.training == training
    assert texts[0] == texts[1]


def test_layers_of_one_size_share_a_function() -> None:
    text = source(build(read(LSTM(5, 5, 4), None, None), "deep", ()), False)
    assert text.count("static void ") == 1
    assert text.count("    lstm_step_l0(\n") == 4


def test_tied_weights_are_there_once() -> None:
    model = tiny("gru", embedding_size=6, tied=True)
    own = sum(p.numel() for p in model.parameters())
    # Of the biases of r and z, the sums alone, in 2 layers.
    assert build(read(model, None, None), "m", ()).weights.size == own - 2 * 2 * 6


def test_what_is_fixed_is_computed_at_export() -> None:
    @cell
    def leaky(x, h, *, tau=param("H"), b=param("H"), c=param("H")):  # type: ignore[no-untyped-def]
        keep = torch.exp(-1 / torch.exp(tau))
        return keep * h + (1 - keep) * x + b + torch.tanh(c)

    program = build(read(Recurrent(leaky, 4, 4), None, None), "leaky", ())
    text = source(program, False)
    step = text[text.index("static void") :]
    assert "expf" not in step
    assert "tanhf" not in step
    assert program.weights.size == 3 * 4


def test_further_outputs_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    @cell
    def gated(x, h, *, U=param("H", "H")):  # type: ignore[no-untyped-def]
        gate = torch.sigmoid(U @ h)
        return gate * x, (gate,), {"gate": gate, "open_": gate > 0.5, "total": gate.sum()}

    layer = Recurrent(gated, 4, 4)
    files = export(layer, tmp_path, outputs=["open_", "total"])
    text = files[1].read_text()
    assert (
        "void gated_step(gated_state *state, const float *x, float *y, float *out_open_, "
        "float *out_total);" in text
    )
    assert "#define GATED_OPEN__SIZE 4" in text
    assert "out_gate" not in text
    assert run_test(files).returncode == 0


def test_further_outputs_are_those_of_the_last_layer(tmp_path: Path) -> None:
    @cell
    def gated(x, h, *, W=param("H", "D"), U=param("H", "H")):  # type: ignore[no-untyped-def]
        gate = torch.sigmoid(U @ h + W @ x)
        return gate * h + W @ x, {"gate": gate, "bias": W[0, :2]}

    torch.manual_seed(0)
    layer = Recurrent(gated, 4, 3, 3)
    assert run_test(export(layer, tmp_path, "deep", outputs=["gate", "bias"])).returncode == 0
    model = LanguageModel(
        LanguageModelConfig("mine", 3, 2, embedding_size=4), tiny().vocabulary, gated
    ).eval()
    files = export(model, tmp_path, "lm", "blob", outputs=["gate"])
    assert run_test(files).returncode == 0
    assert "int lm_step(lm_state *state, size_t token, float *logits, float *out_gate);" in (
        files[1].read_text()
    )


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_cho", "mingru", "lstm_peephole_gers"])
@pytest.mark.parametrize("layers", [1, 2])
def test_states_and_any_value_with_a_name(name: str, layers: int, tmp_path: Path) -> None:
    """By the names that a layer takes, with the values that it gives."""
    torch.manual_seed(0)
    layer = Recurrent(CELLS[name], 3, 5, layers)
    (graph,) = layer.graphs()[-1:]
    values = [e.out.name for e in graph.equations if e.out.per_step]
    names = tuple(n for n in [*layer.state_names, *values] if not re.fullmatch(r"y|v\d+", n))
    names = tuple(dict.fromkeys(names))
    files = export(layer, tmp_path, "m", outputs=names)
    assert run_test(files).returncode == 0
    program = build(read(layer, None, None), "m", names)
    exported = Exported(library([files[0]], tmp_path / "m.so"), program)
    x = torch.randn(4, 1, 3)
    y, _, further = layer(x, outputs=names)
    for t in range(4):
        found = exported.step(x[t, 0])
        expected = [y[t, 0], *(further[n][-1][t, 0] for n in names)]
        for value, own in zip(found, expected, strict=True):
            torch.testing.assert_close(value, own.detach(), rtol=0, atol=1e-5)


def test_a_cell_with_noise_is_that_of_evaluation(tmp_path: Path) -> None:
    noisy = zoneout(CELLS["gru_no_bias"], h=0.2)
    layer = Recurrent(noisy, 3, 5)
    parameters = {n: p.detach() for n, p in zip(noisy.parameters, layer.parameters(), strict=True)}
    alone = export(noisy, tmp_path / "cell", "m", parameters=parameters)
    assert run_test(alone).returncode == 0
    whole = export(layer, tmp_path / "layer", "m")
    assert [f.read_text() for f in alone] == [f.read_text() for f in whole]


def test_a_new_state_is_written_over_the_old_one_where_nothing_reads_it_later() -> None:
    """An h that products read while the new one is computed has to wait; c has not."""
    waiting, none = ("gru", "lstm", "rnn"), ("indrnn", "mingru", "minlstm")
    expected = dict.fromkeys(waiting, 5) | dict.fromkeys(none, 0)
    # Between its two products a GRU keeps z and r ⊙ h, and its last loop alone reads h after that.
    expected["gru_cho"] = 10
    for name, size in expected.items():
        c = CELLS[name]
        step = prepare(c.graph(c.resolve_sizes(3, 5)), ["y"])
        found = store(step, arrange(step)).size
        assert found == size, f"{name}: {found}"


# --- names


def test_names_are_the_users_where_c_allows_them() -> None:
    words = ["W", "gate", "Γ_u", "é", "int", "class", "NAN", "__x", "_", "2x", "日", "expf", "W"]
    names = Names()
    assert [names.new(w) for w in words] == [
        "W", "gate", "Gamma_u", "e", "int_", "class_", "NAN_", "x", "v", "v2x", "u65e5", "expf_",
        "W_",
    ]  # fmt: skip
    for w in words:
        assert identifier(w).isascii()
    assert not {"W", "gate"} & RESERVED


def test_hostile_equations_stay_text(tmp_path: Path) -> None:
    """Names and lines of saved equations may come from anyone."""
    from unrolled.errors import Location

    x, h, W = (
        Var("x", (2,), "input"), Var("h", (2,), "state"),
        Var("system", (2, 2), "parameter", per_step=False),
    )  # fmt: skip
    v, y = Var("return", (2,)), Var("sizeof", (2,))
    evil = Location("a */ } int main(void) { //\\\n#include <x>", 1)
    equations = (
        Equation(v, "matmul", (W, h), (), evil), Equation(y, "add", (v, x), (), evil),
    )  # fmt: skip
    graph = Graph("g*/\\", (x,), (h,), (W,), (), (), equations, (y,), (Output("y", y),))
    layer = Recurrent(Cell.from_graphs([graph]), 2, 2)
    files = export(layer, tmp_path, "evil")
    assert run_test(files).returncode == 0
    assert "#include <x>" not in files[0].read_text()


# --- what is refused


def half(model: Any) -> Any:
    return copy.deepcopy(model).half()


@pytest.mark.parametrize(
    ("model", "options", "kind", "message"),
    [
        (
            GRU(3, 5, bidirectional=True), {}, UserError,
            "a bidirectional layer can't run step by step: its reverse direction begins at the "
            "sequence's end, which a step has not seen; export one with bidirectional=False",
        ),
        (
            GRU(3, 5).double(), {}, UserError,
            "the parameter W_ih is torch.float64: the C that is written computes in float32; "
            "convert a copy, copy.deepcopy(model).float()",
        ),
        (
            half(Recurrent(CELLS["elman"], 3, 5)), {}, UserError,
            "the parameter W_xh is torch.float16: the C that is written computes in float32; "
            "convert a copy, copy.deepcopy(model).float()",
        ),
        (
            nn.Linear(3, 5), {}, TypeError,
            "expected a cell, a recurrent layer or a LanguageModel, got Linear: of a network of "
            "your own, export its recurrent layer",
        ),
        (
            GRU(3, 5), {"parameters": {}}, TypeError,
            "parameters= goes with a cell: a layer and a model have their own",
        ),
        (
            CELLS["indrnn"], {"parameters": {"W": torch.zeros(2, 2), "z": torch.zeros(2)}},
            TypeError,
            "cell indrnn has the parameters W, u, b; missing: u, b: give a tensor for each as "
            "parameters=, or export a layer, Recurrent(cell, ...)",
        ),
        (
            CELLS["mingru"],
            {"parameters": {"W": torch.zeros(4, 3), "b": torch.zeros(5)}}, UserError,
            "the parameter b of cell mingru is [5], expected [4]",
        ),
        (
            GRU(3, 5), {"weights": "file"}, ValueError,
            "weights='file': expected 'array' or 'blob'",
        ),
        (
            GRU(3, 5), {"outputs": "gate"}, TypeError,
            "outputs='gate': expected a sequence of names, ('gate',)",
        ),
        (GRU(3, 5), {"outputs": ["gate"]}, UserError,
         "gru has no 'gate' to put out: expected one of y, h, r, z, n"),
        (GRU(3, 5), {"outputs": ["y"]}, UserError,
         "outputs: y is the first that every step writes; name others"),
        (
            GRU(3, 5, 2), {"state": torch.zeros(5)}, ValueError,
            "state= has a tensor [layers, size] for each state, here h [2, 5]; got [5]",
        ),
        (
            LSTM(3, 5), {"state": torch.zeros(1, 5)}, ValueError,
            "state= has a tensor [layers, size] for each state, here h [1, 5], c [1, 5]; "
            "got [1, 5]",
        ),
        (
            GRU(3, 5), {"name": "my gru"}, UserError,
            "the name 'my gru' begins functions and macros in C: it is made of letters, digits "
            "and _, and begins with a letter",
        ),
        (
            GRU(3, 5), {"name": "math"}, UserError,
            "the name 'math' has a meaning in C: choose another",
        ),
        (
            GRU(3, 5), {"name": "while"}, UserError,
            "the name 'while' has a meaning in C: choose another",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_refused(
    model: Any, options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        export(model, tmp_path / "out", **options)
    assert str(caught.value) == message
    assert not (tmp_path / "out").exists()


def test_a_cell_whose_sizes_do_not_follow(tmp_path: Path) -> None:
    @cell
    def plain(x, h, q=state("Q"), *, b=param("H")):  # type: ignore[no-untyped-def]
        return h + b, (h, q)

    with pytest.raises(UserError) as caught:
        export(plain, tmp_path, parameters={"b": torch.zeros(3)})
    assert str(caught.value) == (
        "the sizes D, Q of cell plain don't follow from its parameters: export a layer, "
        "Recurrent(cell, input_size, hidden_size)"
    )


def test_an_op_over_all_steps_is_refused(tmp_path: Path) -> None:
    x, h = Var("x", (2,), "input"), Var("h", (2,), "state")
    v = Var("v", (2,), per_step=False)
    graph = Graph("odd", (x,), (h,), (), (), (), (Equation(v, "total", (x,)),), (h,),
                  (Output("y", v),))  # fmt: skip
    with pytest.raises(UserError) as caught:
        prepare(graph, ["y"])
    assert str(caught.value) == (
        "odd uses total: it adds up all time steps, and C gets one step at a time"
    )


def test_a_cell_that_cannot_be_compiled_says_so_in_the_users_words(tmp_path: Path) -> None:
    @cell
    def branches(x, h, *, b=param("H", "D")):  # type: ignore[no-untyped-def]
        return h + 1 if (b @ x).sum() > 0 else h

    with pytest.raises(CellError, match=r"a branch on \(sum\("):
        export(branches, tmp_path, parameters={"b": torch.zeros(3, 3)})


# --- files


def test_foreign_files_stay(tmp_path: Path) -> None:
    own = tmp_path / "gru.h"
    own.write_text("// mine")
    with pytest.raises(UserError) as caught:
        export(GRU(3, 5), tmp_path)
    assert str(caught.value) == (
        f"{own} is there, and no export has written it: choose another directory or name"
    )
    assert [f.name for f in tmp_path.iterdir()] == ["gru.h"]
    assert own.read_text() == "// mine"
    own.unlink()
    (tmp_path / "gru.bin").write_bytes(b"something")
    with pytest.raises(UserError, match=r"gru\.bin is there, and no export has written it"):
        export(GRU(3, 5), tmp_path, weights="blob")
    (tmp_path / "gru.c").mkdir()
    with pytest.raises(
        UserError, match=r"can't read .*gru\.c, which is in the way: Is a directory"
    ):
        export(GRU(3, 5), tmp_path)


def test_an_export_replaces_an_earlier_one(tmp_path: Path) -> None:
    export(GRU(3, 5), tmp_path, weights="blob")
    files = export(GRU(3, 7), tmp_path, weights="blob")
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert run_test(files).returncode == 0


def test_no_file_of_an_earlier_export_is_left(tmp_path: Path) -> None:
    export(GRU(3, 5), tmp_path, weights="blob")
    files = export(GRU(3, 5), tmp_path, test=False)
    assert sorted(files) == sorted(tmp_path.iterdir())
    foreign = tmp_path / "gru.bin"
    foreign.write_bytes(b"something")
    files = export(GRU(3, 5), tmp_path, test=False)
    assert sorted([*files, foreign]) == sorted(tmp_path.iterdir())
    assert foreign.read_bytes() == b"something"


def test_a_composed_cells_name_ends_in_a_letter(tmp_path: Path) -> None:
    files = export(Recurrent(zoneout(CELLS["elman"], h=0.2), 3, 5), tmp_path)
    assert [f.name for f in files] == [
        "zoneout_elman_h_0_2.c", "zoneout_elman_h_0_2.h", "zoneout_elman_h_0_2_test.c",
    ]  # fmt: skip
    assert run_test(files).returncode == 0


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((DataError, UserError)) as caught:
        export(GRU(3, 5), tmp_path / "file" / "out")
    assert str(tmp_path / "file") in str(caught.value)


def test_the_same_model_is_written_in_the_same_way(tmp_path: Path) -> None:
    layer = GRU(3, 5)
    contents = [
        [f.read_bytes() for f in export(layer, tmp_path / folder, weights="blob")]
        for folder in ("a", "b")
    ]
    assert contents[0] == contents[1]
    assert sample(build(read(layer, None, None), "gru", ())).x.shape == (6, 3)
