"""Atomic files: the old content or the whole new one."""

from pathlib import Path

import pytest

from small_files import largest_file
from unrolled.data.files import staged, write_together
from unrolled.errors import DataError


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_new_content_takes_the_old_ones_place(tmp_path: Path):
    path = tmp_path / "new" / "a"
    for content in (b"old", b"new"):
        with staged(path) as file:
            file.write(content)
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["a"]


def test_the_old_content_stands_until_the_end(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"old")
    with staged(tmp_path / "a") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
):
    (tmp_path / "a").write_bytes(b"old")

    def interrupted() -> None:
        with staged(tmp_path / "a") as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"old")
    refused = pytest.raises(DataError, match=r"can't write .*a: File too large; nothing was over")
    with largest_file(1024), refused:
        write_together({tmp_path / "a": b"x" * 4096})
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("large", ["first", "second", "third"])
def test_together_is_all_or_nothing(tmp_path: Path, large: str):
    paths = {name: tmp_path / name for name in ("first", "second", "third")}
    write_together(dict.fromkeys(paths.values(), b"old"))
    with largest_file(1024), pytest.raises(DataError, match="nothing was overwritten"):
        write_together(
            {path: b"x" * (4096 if name == large else 1) for name, path in paths.items()}
        )
    assert [path.read_bytes() for path in paths.values()] == [b"old"] * 3
    assert names(tmp_path) == ["first", "second", "third"]


def test_together_renames_in_the_given_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        order.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    write_together({tmp_path / name: b"" for name in ("a", "b", "c")})
    assert order == ["a", "b", "c"]


def test_a_directory_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a file")
    with pytest.raises(DataError, match=r"can't write .*/a/b: .*check the directory"):
        write_together({tmp_path / "a" / "b": b""})
