"""The files as a user compiles them: test programs, blobs, sanitizers, C++, size and stack."""

from __future__ import annotations

import ctypes
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from c_programs import Exported, compile_c, library, run_test
from tiny_models import tiny
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import GRU, LSTM, RNN, Recurrent
from unrolled.backends.cpu.build import compiler
from unrolled.cells import CELLS
from unrolled.interop.c import blob, export
from unrolled.interop.c.bound import SLACK
from unrolled.interop.c.network import read
from unrolled.interop.c.program import build
from unrolled.interop.c.samples import sample

GOOD = re.compile(r"(\w+): 6 steps, \d+ numbers: largest error \S+, at most (\S+) of its bound\n")


def passes(files: list[Path], *options: str) -> float:
    """The test program compiles and passes; the largest part of a bound that was used up."""
    done = run_test(files, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = GOOD.fullmatch(done.stdout)
    assert found, done.stdout
    assert 0 < float(found[2]) <= 1
    return float(found[2])


LAYERS: dict[str, Any] = {
    "rnn": lambda: RNN(7, 13, nonlinearity="relu"),
    "gru_two_layers": lambda: GRU(3, 17, 2, dropout=0.5),
    "gru_no_bias": lambda: GRU(3, 5, bias=False),
    "lstm_three_layers": lambda: LSTM(1, 33, 3),
    "lstm_projected": lambda: LSTM(5, 11, 3, proj_size=4),
    "torch_lstm": lambda: nn.LSTM(5, 11, 2, batch_first=True),
    "layer_norm": lambda: Recurrent(CELLS["lstm_layer_norm"], 4, 9, 2),
    "output_of_its_own": lambda: Recurrent(CELLS["elman_output"], 4, 9, 3, sizes={"O": 2}),
    "one_unit": lambda: Recurrent(CELLS["gru_full"], 1, 1, 2),
}


@pytest.mark.parametrize("weights", ["array", "blob"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, weights: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    passes(export(LAYERS[name](), tmp_path, name, weights))


MODELS: dict[str, dict[str, Any]] = {
    "embedded": {},
    "one_hot": {"cell": "gru_cho", "embedding_size": 0},
    "tied": {"cell": "gru", "embedding_size": 6, "tied": True, "num_layers": 1},
    "three_layers": {"cell": "lstm_projected", "sizes": {"P": 3}, "num_layers": 3},
}


@pytest.mark.parametrize("weights", ["array", "blob"])
@pytest.mark.parametrize("name", MODELS)
def test_language_models(name: str, weights: Any, tmp_path: Path) -> None:
    model = tiny(**MODELS[name])
    model.save_pretrained(tmp_path / "model")
    passes(export(type(model).from_pretrained(tmp_path / "model"), tmp_path, name, weights))


def test_a_language_model_over_a_text(tmp_path: Path) -> None:
    """The logits of each next token, as the model's own forward has them in float64."""
    model = tiny("lstm")
    program = build(read(model, None, None), "lm", ())
    files = export(model, tmp_path, "lm", test=False)
    exported = Exported(library([files[0]], tmp_path / "lm.so"), program)
    tokens = model.encode("hello world\nhello")
    with torch.no_grad():
        expected, _ = model.double()(tokens[:, None])
    found = torch.stack([exported.step(t)[0] for t in tokens]).double()
    # In each of 17 steps a value passes 2 layers and the output, in sums of at most 12 products and
    # ten operations more, each wrong by 4 ulp at most; weights in ±1/√H make no error grow.
    bound = 17 * 3 * (12 + 10) * 8 * 2.0**-24 * max(1.0, float(expected.abs().max()))
    assert bound < 1e-3
    assert (found - expected[:, 0]).abs().max() <= bound


def test_a_token_that_is_none_changes_nothing(tmp_path: Path) -> None:
    model = tiny("gru")
    files = export(model, tmp_path, "lm", test=False)
    loaded = library([files[0]], tmp_path / "lm.so")
    memory, logits = (ctypes.c_float * 4096)(*[3.0] * 4096), (ctypes.c_float * 64)(*[5.0] * 64)
    for token in (len(model.vocabulary), 2**40):
        assert loaded.lm_step(memory, ctypes.c_size_t(token), logits) == -1
    assert set(memory) == {3.0}
    assert set(logits) == {5.0}


def test_the_program_finds_a_wrong_weight(tmp_path: Path) -> None:
    """A weight of x off by 2^-12: at slopes of 1/4 and 1/10, some 20 times what rounding may do."""
    torch.manual_seed(0)
    files = export(GRU(3, 5), tmp_path)
    text = files[0].read_text()
    found = re.search(r"W_ih_l0\[45\] = \{\n\s+(-?[\d.]+)f", text)
    assert found
    wrong = float(found[1]) + 2.0**-12
    files[0].write_text(text[: found.start(1)] + repr(wrong) + text[found.end(1) :])
    done = run_test(files)
    assert done.returncode == 1
    assert re.match(r"gru: step \d, number \d+: \S+, expected \S+ within \S+\n", done.stdout)
    assert re.search(r"; \d+ WRONG\n$", done.stdout)


SANITIZE = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all", "-g")


@pytest.mark.parametrize("weights", ["array", "blob"])
@pytest.mark.parametrize("name", ["many_outputs", "rolled", "matrix_axes", "lstm"])
def test_sanitizers_find_nothing(name: str, weights: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    if name == "lstm":
        passes(export(tiny("lstm_peephole", embedding_size=0), tmp_path, "lm", weights), *SANITIZE)
        return
    cell = TRICKY[name]
    others = {s: n for s, n in OTHER_SIZES.items() if s in cell.size_names()}
    layer = Recurrent(cell, INPUT_SIZE, HIDDEN_SIZE, sizes=others)
    further = [o.name for o in layer.graphs()[0].outputs[1:]]
    passes(export(layer, tmp_path, name, weights, outputs=further), *SANITIZE)


@pytest.mark.parametrize("weights", ["array", "blob"])
def test_the_files_are_cplusplus_too(weights: Any, tmp_path: Path) -> None:
    command = shutil.which("g++") or shutil.which("clang++")
    if command is None:
        pytest.skip("there is no C++ compiler")
    files = export(tiny("gru_full"), tmp_path, "lm", weights)
    sources = [str(f) for f in files if f.suffix == ".c"]
    warnings = ("-x", "c++", "-std=c++11", "-pedantic", "-Wall", "-Wextra", "-Werror")
    subprocess.run([command, *warnings, *sources, "-o", str(tmp_path / "t")], check=True)
    done = subprocess.run([tmp_path / "t"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- blobs


@pytest.fixture(scope="module")
def blobbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, bytes]:
    folder = tmp_path_factory.mktemp("blob")
    torch.manual_seed(0)
    files = export(Recurrent(CELLS["gru"], 3, 5), folder, "net", "blob")
    return library([files[0]], folder / "net.so"), files[2].read_bytes()


def init(loaded: ctypes.CDLL, content: bytes, shift: int = 0, size: int | None = None) -> int:
    memory = (ctypes.c_float * 256)()
    room = (ctypes.c_float * (len(content) // 4 + 4))()
    address = ctypes.addressof(room) + shift
    ctypes.memmove(address, content, len(content))
    n = len(content) if size is None else size
    return loaded.net_init(memory, ctypes.c_void_p(address), ctypes.c_size_t(n))


def changed(content: bytes, at: int, form: str, value: int) -> bytes:
    packed = struct.pack(form, value)
    return content[:at] + packed + content[at + len(packed) :]


def test_a_blob_is_read_as_documented(blobbed: tuple[ctypes.CDLL, bytes]) -> None:
    loaded, content = blobbed
    magic, version, n, _, crc = struct.unpack_from("<8sIIII", content)
    assert (magic, version) == (b"UNROLLED", 1)
    assert len(content) == 32 + 4 * n
    assert content[24:32] == bytes(8)
    assert crc == zlib.crc32(content[32:])
    assert init(loaded, content) == 0


def test_a_wrong_blob_is_refused(blobbed: tuple[ctypes.CDLL, bytes]) -> None:
    loaded, content = blobbed
    codes = {name: k for k, (name, _) in enumerate(blob.ERRORS, 1)}
    assert init(loaded, content[:-4]) == codes["SIZE"]
    assert init(loaded, content + bytes(4)) == codes["SIZE"]
    assert init(loaded, b"") == codes["SIZE"]
    assert init(loaded, content, shift=2) == codes["ALIGNMENT"]
    assert init(loaded, changed(content, 0, "<B", 0)) == codes["FORMAT"]
    assert init(loaded, changed(content, 8, "<I", 2)) == codes["FORMAT"]
    assert init(loaded, changed(content, 12, "<I", 7)) == codes["MODEL"]
    assert init(loaded, changed(content, 16, "<I", 7)) == codes["MODEL"]
    for at in (20, 32, len(content) - 1):
        wrong = changed(content, at, "<B", content[at] ^ 1)
        assert init(loaded, wrong) == codes["CHECKSUM"]


def test_the_test_program_says_why_a_blob_is_refused(tmp_path: Path) -> None:
    files = export(Recurrent(CELLS["gru"], 3, 5), tmp_path, "net", "blob")
    files[2].write_bytes(files[2].read_bytes()[:-4])
    done = run_test(files)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "net: net.bin: refused, reason 1\n"
    files[2].unlink()
    done = subprocess.run([tmp_path / "the_test"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "net: net.bin: can't be read\n")


# --- size


def test_a_small_network_is_small(tmp_path: Path) -> None:
    """GRU of 32 units: code, weights and stack as docs/c-export.md has them, and little more."""
    command = compiler()
    if command is None or command[0] != "gcc" or shutil.which("size") is None:
        pytest.skip("there is no gcc with size")
    files = export(GRU(8, 32), tmp_path, test=False)
    compile_c(
        [files[0]],
        tmp_path / "gru.o",
        "-c",
        "-Os",
        "-fstack-usage",
        "-fno-asynchronous-unwind-tables",
    )
    listing = subprocess.run(
        ["size", "-A", tmp_path / "gru.o"], capture_output=True, text=True, check=True
    )
    sections = {name: int(n) for name, n in re.findall(r"^(\.\S+)\s+(\d+)", listing.stdout, re.M)}
    code = sum(n for s, n in sections.items() if s.startswith(".text"))
    data = sum(n for s, n in sections.items() if s.startswith(".rodata"))
    assert 0 < code < 1000
    # The biases of r and z are one each, n has two.
    weights = 4 * (96 * 8 + 96 * 32 + 4 * 32)
    assert weights <= data < weights + 200
    assert sum(n for s, n in sections.items() if s.startswith((".data", ".bss"))) == 0
    stack = max(int(line.split()[1]) for line in (tmp_path / "gru.su").read_text().splitlines())
    assert stack <= 256


def test_the_bound_is_that_of_one_step_and_no_larger_than_it_need_be() -> None:
    """Six steps of a large LSTM: no bound is beyond what 3 sums of its length can explain."""
    torch.manual_seed(0)
    layer = LSTM(64, 256)
    samples = sample(build(read(layer, None, None), "lstm", ()))
    n, u = 64 + 256 + 20, 2.0**-24
    # |weights| <= 1/16, |x| and |h| <= 1: Σ|w||v| <= 20; slopes at most 1, |c| <= 6.
    worst = 6 * (n * u * 20 + 40 * u) * SLACK
    for r in samples.results:
        assert (r.bound <= worst).all()
        assert (r.bound > 0).all()


def test_states_begin_where_they_are_told_to(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = LSTM(3, 5, 2)
    started: tuple[Tensor, ...] = (torch.rand(2, 5), torch.rand(2, 5))
    passes(export(layer, tmp_path, "lstm", state=started))
    program = build(read(layer, None, started), "lstm", ())
    exported = Exported(library([tmp_path / "lstm.c"], tmp_path / "lstm.so"), program)
    h, c = started
    assert torch.equal(exported.states, torch.cat([h[0], c[0], h[1], c[1]]))
    y, _ = layer(torch.ones(1, 3), started)
    torch.testing.assert_close(exported.step(torch.ones(3))[0], y[0], rtol=0, atol=1e-6)
    exported.reset()
    assert torch.equal(exported.states, torch.cat([h[0], c[0], h[1], c[1]]))
