"""Compiling and keeping what was compiled, with everything in the way that can be."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from unrolled.backends.cpu import build, cache
from unrolled.backends.cpu.build import CompilerError, load
from unrolled.backends.cpu.emit import emit
from unrolled.backends.cpu.place import place
from unrolled.cells import CELLS
from unrolled.errors import UnsupportedByBackend
from unrolled.lower import lower

SRC = Path(__file__).parents[2] / "src"
SOURCE = "double answer(double x) { return x * 21; }"

RUN = """
import torch, unrolled
from unrolled.cells import CELLS
cell = CELLS["elman"]
shapes = cell.parameter_shapes(cell.resolve_sizes(3, 4))
params = {n: torch.full([int(k) for k in s], 0.1) for n, s in shapes.items()}
def run(backend="auto"):
    y, _ = unrolled.recurrence(cell, torch.ones(5, 2, 3), (torch.zeros(2, 4),), params, backend)
    return float(y.sum())
"""


@pytest.fixture(autouse=True)
def _fresh(  # pyright: ignore[reportUnusedFunction]
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of its own for each test, and nothing remembered of compilers."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_private", {})
    build.compiler.cache_clear()
    build._machine.cache_clear()


def answer(library: ctypes.CDLL) -> float:
    library.answer.restype = ctypes.c_double
    return library.answer(ctypes.c_double(2.0))


def kept(tmp_path: Path, suffix: str = ".so") -> list[Path]:
    return sorted((tmp_path / "cache").glob(f"*{suffix}"))


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Code after ``RUN`` in a new process."""
    paths = [str(SRC), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", RUN + textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


# --- the cache


def test_a_library_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(load(SOURCE, {})) == 42
    (library,) = kept(tmp_path)
    written = library.stat().st_mtime_ns
    monkeypatch.setattr(build, "_compile", lambda *_: pytest.fail("compiled again"))
    assert answer(load(SOURCE, {})) == 42
    assert library.stat().st_mtime_ns == written


def test_source_options_and_flags_have_libraries_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "#include <math.h>\ndouble answer(double x) { return FACTOR * x; }"
    assert answer(load(source, {"FACTOR": "2"})) == 4
    assert answer(load(source, {"FACTOR": "3"})) == 6
    assert answer(load(source + "\n", {"FACTOR": "3"})) == 6
    assert len(kept(tmp_path)) == 3
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DUNUSED"))
    build._machine.cache_clear()
    load(source, {"FACTOR": "3"})
    assert len(kept(tmp_path)) == 4


def _truncated(library: Path, seal: Path) -> None:
    library.write_bytes(library.read_bytes()[:-1])


def _one_bit(library: Path, seal: Path) -> None:
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)


def _empty(library: Path, seal: Path) -> None:
    library.write_bytes(b"")


def _foreign(library: Path, seal: Path) -> None:
    library.write_bytes(b"\x7fELF of another kind")


def _directory(library: Path, seal: Path) -> None:
    seal.unlink()


def _seal_of_bytes(library: Path, seal: Path) -> None:
    seal.write_bytes(b"\xff\xfe")


def _seal_of_another(library: Path, seal: Path) -> None:
    seal.write_text("0" * 64)


@pytest.mark.parametrize(
    "damage",
    [_truncated, _one_bit, _empty, _foreign, _directory, _seal_of_bytes, _seal_of_another],
)
def test_a_damaged_library_is_built_again(tmp_path: Path, damage: object) -> None:
    load(SOURCE, {})
    (library,), (seal,) = kept(tmp_path), kept(tmp_path, ".sha256")
    # A copy: what is loaded here must not change under it.
    sound, data = library.stat().st_ino, library.read_bytes()
    library.unlink()
    library.write_bytes(data)
    damage(library, seal)  # type: ignore[operator]
    assert answer(load(SOURCE, {})) == 42
    assert library.read_bytes() == data
    assert library.stat().st_ino != sound
    assert build._sound(tmp_path / "cache", library.stem)


def test_nothing_is_left_beside_libraries_and_seals(tmp_path: Path) -> None:
    load(SOURCE, {})
    names = sorted(p.suffix for p in (tmp_path / "cache").iterdir())
    assert names == [".sha256", ".so"]


def test_a_missing_cache_is_made_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0)
    try:
        monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "deep" / "er"))
        assert answer(load(SOURCE, {})) == 42
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "er").stat().st_mode) == 0o700


def test_the_cache_is_in_the_users_cache_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNROLLED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_directory() == tmp_path / "xdg" / "unrolled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_directory() == tmp_path / "home" / ".cache" / "unrolled"
    monkeypatch.setenv("UNROLLED_CACHE", "~/elsewhere")
    assert cache.cache_directory() == tmp_path / "home" / "elsewhere"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(UnsupportedByBackend, match=r"can be written by others.*chmod 700"):
        load(SOURCE, {})


def test_a_cache_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.cache_directory()
    if os.getuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UnsupportedByBackend, match="can be written by others"):
        load(SOURCE, {})


def _is_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("no directory")


def _may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.mkdir(mode=0o700)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: Path(p) != path and allowed(p, mode))


def _is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def full(old: str | Path, new: str | Path) -> None:
        if Path(new).parent == path:
            raise OSError(28, "No space left on device")
        replace(old, new)

    monkeypatch.setattr(os, "replace", full)


@pytest.mark.parametrize("obstacle", [_is_a_file, _may_not_be_written, _is_full])
def test_without_a_cache_a_private_directory_serves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    obstacle: object,
) -> None:
    obstacle(tmp_path / "cache", monkeypatch)  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert answer(load(SOURCE, {})) == 42
        assert answer(load(SOURCE + "\n", {})) == 42
    (said,) = caplog.records
    assert "UNROLLED_CACHE" in said.getMessage()
    (private,) = cache._private.values()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    shutil.rmtree(private)


def test_a_private_directory_is_removed_at_the_end_and_not_by_a_child(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = python(
        """
        import os, sys
        from unrolled.backends.cpu import cache
        run()
        (path,) = cache._private.values()
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(path, path.exists())
        """,
        UNROLLED_CACHE=str(tmp_path / "file"),
    )
    assert done.returncode == 0, done.stderr
    path, there = done.stdout.split()
    assert there == "True"
    assert not Path(path).exists()


def test_a_process_may_be_forked_from_one_with_a_private_directory(tmp_path: Path) -> None:
    """The child compiles into one of its own, for its parent may end first."""
    (tmp_path / "file").write_text("")
    done = python(
        """
        import os
        from unrolled.backends.cpu import cache
        from unrolled.backends.cpu.build import load
        run()
        child = os.fork()
        if child == 0:
            load("int own;", {})
            print(len(set(cache._private.values())), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
        UNROLLED_CACHE=str(tmp_path / "file"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_many_processes_compile_the_same_cell_at_once(tmp_path: Path) -> None:
    cell = CELLS["gru"]
    graph = cell.graph(cell.resolve_sizes(3, 5), torch.float32)
    source = emit(place(lower(graph).forward, ()), padded=16).text
    start = tmp_path / "start"
    children: list[int] = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            while not start.exists():
                time.sleep(0.001)
            loaded = hasattr(load(source, {"UR_FLOAT": "1"}), "ur_run")
            os._exit(0 if loaded else 1)
        children.append(child)
    start.touch()
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    (library,) = kept(tmp_path)
    assert build._sound(tmp_path / "cache", library.stem)
    assert len(list((tmp_path / "cache").iterdir())) == 2


# --- the compiler


def test_no_compiler_means_the_reference_said_once(tmp_path: Path) -> None:
    done = python(
        """
        import sys
        from unrolled.errors import UnsupportedByBackend
        sys.modules["ziglang"] = None
        assert run() == run() == run("reference")
        torch.manual_seed(0)
        unrolled.GRU(3, 4)(torch.zeros(2, 3, 3))
        try:
            run("cpu")
        except UnsupportedByBackend as error:
            print(error)
        """,
        CC="", PATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "no C compiler was found" in line]
    assert len(said) == 1
    assert "install gcc or clang" in said[0]
    assert "backend 'cpu' can't run this plan: no C compiler was found" in done.stdout
    assert "pip install ziglang" in done.stdout


def test_a_compiler_that_is_not_there_is_named() -> None:
    done = python("print(run())\nrun('cpu')", CC="/nonexistent/cc -O9")
    assert done.returncode != 0
    assert done.stdout
    assert "UnsupportedByBackend" in done.stderr
    assert "CC=/nonexistent/cc -O9 is no program here" in done.stderr


def test_a_compiler_that_fails_is_quoted_with_the_source(tmp_path: Path) -> None:
    with pytest.raises(CompilerError) as raised:
        load("int answer(void) { return no_such_thing; }", {"EXTRA": "1"})
    message = str(raised.value)
    (source,) = kept(tmp_path, ".c")
    assert "no_such_thing" in message
    assert "backend='reference'" in message
    assert str(source) in message
    assert "no_such_thing" in source.read_text()
    assert "loop.c" not in message.replace(f"{source}", "")


def test_a_program_that_is_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "cc"
    script.write_bytes(b"\0\0")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(CompilerError, match="can't be run"):
        load(SOURCE, {})


def wrapper(tmp_path: Path, body: str) -> Path:
    """A compiler that does something else first; ``$CC`` is the true one in it."""
    true = build.compiler()
    assert true is not None
    script = tmp_path / "my cc"
    script.write_text(f'#!/bin/bash\nCC=({" ".join(true)})\n{body}\nexec "${{CC[@]}}" "$@"\n')
    script.chmod(0o755)
    build.compiler.cache_clear()
    return script


@pytest.mark.parametrize("refused", ["-march=native", "-m*=native"])
def test_a_compiler_that_does_not_know_this_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    body = f'for a; do case "$a" in {refused}) echo "unknown $a" >&2; exit 1;; esac; done'
    monkeypatch.setenv("CC", f"'{wrapper(tmp_path, body)}'")
    assert answer(load(SOURCE, {})) == 42


def test_what_can_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk from which nothing may be run."""
    body = 'for a; do case "$a" in *.so) echo text > "$a"; exit 0;; esac; done'
    monkeypatch.setenv("CC", f"'{wrapper(tmp_path, body)}'")
    with pytest.raises(CompilerError, match=r"can't be loaded.*UNROLLED_CACHE"):
        load(SOURCE, {})


def test_an_interrupted_build_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "_native", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(SOURCE, {})
    assert list((tmp_path / "cache").iterdir()) == []
    assert answer(load(SOURCE, {})) == 42


OTHER_COMPILERS = {
    "clang": ("clang",),
    "ziglang": (sys.executable, "-m", "ziglang", "cc"),
}


@pytest.mark.parametrize("name", OTHER_COMPILERS)
def test_other_compilers(name: str) -> None:
    command = OTHER_COMPILERS[name]
    try:
        there = subprocess.run([*command, "--version"], capture_output=True, check=False)
    except OSError:
        pytest.skip(f"{name} is not installed")
    if there.returncode:
        pytest.skip(f"{name} is not installed")
    code = """
    torch.set_num_threads(2)
    assert abs(run("cpu") - run("reference")) < 1e-4
    cell = CELLS["gru"]
    shapes = cell.parameter_shapes(cell.resolve_sizes(70, 90))
    params = {n: torch.randn([int(k) for k in s]).requires_grad_() for n, s in shapes.items()}
    x = torch.randn(5, 40, 70)
    found = []
    for backend in ("cpu", "reference"):
        y, _ = unrolled.recurrence(cell, x, (torch.zeros(40, 90),), params, backend)
        found.append([y, *torch.autograd.grad(y.sum(), list(params.values()))])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    """
    done = python(code, CC=" ".join(command))
    assert done.returncode == 0, done.stderr


def test_a_later_process_compiles_nothing(tmp_path: Path) -> None:
    code = """
    from unrolled.backends.cpu import build
    compiled = build._compile
    def counted(*args):
        print("compiled")
        compiled(*args)
    build._compile = counted
    run()
    """
    first, second = python(code), python(code)
    assert first.stdout.count("compiled") == 2, first.stderr
    assert second.returncode == 0, second.stderr
    assert second.stdout == ""
