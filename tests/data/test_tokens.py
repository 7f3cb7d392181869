"""Token files: exact, written once, reused, never half there."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from unrolled.data import corpus, tokens
from unrolled.data.bad_rows import BadRows
from unrolled.data.corpus import find
from unrolled.data.lines import readable
from unrolled.data.tokens import encode_corpus, frequencies
from unrolled.data.vocabulary import Kind, Vocabulary, VocabularyConfig
from unrolled.data.windows import Stream
from unrolled.errors import DataError


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.txt").write_text("hello\nworld\n")
    (tmp_path / "in" / "2.txt").write_text("hallo welt")
    return tmp_path / "in"


@pytest.mark.parametrize("kind", ["char", "byte", "word"])
@pytest.mark.parametrize("eos", [True, False])
def test_the_ids_are_the_documents(tmp_path: Path, text: Path, kind: Kind, eos: bool):
    config = VocabularyConfig(kind, eos=eos)
    file = encode_corpus(find(str(text)), config, tmp_path / "cache")
    mark = "<eos>" if eos else ""
    assert file.vocabulary.decode(file.tokens) == f"{mark}hello\nworld\n{mark}hallo welt{mark}"
    assert len(file) == len(file.tokens)
    assert isinstance(file.tokens, np.memmap)
    assert file.unknown == 0


def test_small_pieces_give_the_same_ids(
    tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
):
    for kind in ("char", "byte", "word"):
        config = VocabularyConfig(kind)
        whole = encode_corpus(find(str(text)), config, tmp_path / "whole")
        with monkeypatch.context() as patch:
            patch.setattr(corpus, "_BLOCK", 5)
            pieces = encode_corpus(find(str(text)), config, tmp_path / "pieces")
        assert pieces.vocabulary == whole.vocabulary
        assert pieces.tokens.tolist() == whole.tokens.tolist()
        assert pieces.fingerprint == whole.fingerprint


def test_it_is_encoded_once(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch):
    sources = find(str(text))
    first = encode_corpus(sources, VocabularyConfig(), tmp_path)
    monkeypatch.setattr(tokens, "read_source", None)
    monkeypatch.setattr(tokens, "read", None)
    assert encode_corpus(sources, VocabularyConfig(), tmp_path) == first


@pytest.mark.parametrize("change", ["content", "kind", "limit", "vocabulary", "file"])
def test_it_is_encoded_anew_for_another_corpus_or_vocabulary(
    tmp_path: Path, text: Path, change: str
):
    first = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path)
    config: Vocabulary | VocabularyConfig = VocabularyConfig()
    if change == "content":
        (text / "2.txt").write_text("hello welt!")
    elif change == "kind":
        config = VocabularyConfig("word")
    elif change == "limit":
        config = VocabularyConfig(min_count=2)
    elif change == "vocabulary":
        config = Vocabulary.build(["helo wrd"], "char")
    elif change == "file":
        (text / "3.txt").write_text("x")
    second = encode_corpus(find(str(text)), config, tmp_path)
    assert second.path != first.path
    assert second.fingerprint != first.fingerprint
    assert first.path.exists()


def test_the_fingerprint_is_of_content_not_of_places(tmp_path: Path, text: Path):
    first = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path)
    text.rename(tmp_path / "moved")
    moved = encode_corpus(find(str(tmp_path / "moved")), first.vocabulary, tmp_path / "other")
    assert moved.fingerprint == first.fingerprint


def test_with_a_vocabulary_that_exists_the_unknown_are_counted(tmp_path: Path, text: Path):
    vocabulary = Vocabulary.build(["helo wrd\n"], "char")
    file = encode_corpus(find(str(text)), vocabulary, tmp_path)
    assert file.vocabulary == vocabulary
    assert file.unknown == 2  # the a and the t of "hallo welt"


def test_without_unk_the_unknown_are_refused(tmp_path: Path, text: Path):
    vocabulary = Vocabulary.build(["hel"], "char", unk=False)
    with pytest.raises(DataError, match="doesn't know 'a', 'o', ' ', 'w', 't'"):
        encode_corpus(find(str(text / "2.txt")), vocabulary, tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "no ids", "no json", "bad json", "other json"])
def test_a_damaged_one_is_written_again(tmp_path: Path, text: Path, damage: str):
    first = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path)
    expected = first.tokens.tolist()
    manifest = first.path.with_suffix(".json")
    if damage == "truncated":
        first.path.write_bytes(first.path.read_bytes()[:-2])
    elif damage == "no ids":
        first.path.unlink()
    elif damage == "no json":
        manifest.unlink()
    elif damage == "bad json":
        manifest.write_text(manifest.read_text()[:-9])
    elif damage == "other json":
        values = json.loads(manifest.read_text())
        del values["fingerprint"]
        manifest.write_text(json.dumps(values))
    again = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path)
    assert again.tokens.tolist() == expected
    assert again == first


def test_it_is_found_again_without_its_corpus(tmp_path: Path, text: Path):
    cache = tmp_path / "cache"
    file = encode_corpus(find(str(text)), VocabularyConfig(), cache)
    encode_corpus(find(str(text)), VocabularyConfig("word"), cache)
    shutil.rmtree(text)
    (cache / "other.json").write_text("{}")
    assert tokens.find_encoded(cache, file.fingerprint) == file
    assert tokens.find_encoded(cache, "0" * 64) is None
    assert tokens.find_encoded(tmp_path / "nowhere", file.fingerprint) is None
    file.path.write_bytes(b"")
    assert tokens.find_encoded(cache, file.fingerprint) is None


def test_a_failure_leaves_nothing_behind(tmp_path: Path, text: Path):
    (text / "3.txt").write_bytes(b"fine so far \xff")
    vocabulary = Vocabulary.build(["abc"], "char")
    with pytest.raises(DataError, match="not UTF-8"):
        encode_corpus(find(str(text)), vocabulary, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_one_token_over_and_over_is_refused(tmp_path: Path):
    (tmp_path / "a").write_text("aaaa")
    for kind in ("char", "byte"):
        with pytest.raises(DataError, match="nothing to learn"):
            encode_corpus(find(str(tmp_path / "a")), VocabularyConfig(kind), tmp_path)


def test_an_empty_corpus_is_refused(tmp_path: Path):
    (tmp_path / "a").write_text("")
    for kind in ("char", "byte", "word"):
        with pytest.raises(DataError, match="the corpus is empty"):
            encode_corpus(find(str(tmp_path / "a")), VocabularyConfig(kind), tmp_path)


def test_progress_counts_tokens(tmp_path: Path, text: Path):
    seen: list[int] = []
    file = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(file)


@pytest.mark.parametrize("kind", ["char", "byte", "word"])
def test_a_corpus_is_never_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
):
    monkeypatch.setattr(corpus, "_BLOCK", 1 << 12)
    lines = 1 << 16

    def peak(fraction: int) -> int:
        """The most memory held at once for a part of the corpus."""
        path = tmp_path / f"1 of {fraction}"
        path.write_text("some words in a line of a corpus\n" * (lines // fraction))
        tracemalloc.start()
        file = encode_corpus(find(str(path)), VocabularyConfig(kind), tmp_path / "cache")
        for x, _ in Stream(file.tokens, 4, 64).batches():
            assert x.shape[1] == 4
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(64)  # what is imported and cached on first use is not the corpus'
    assert peak(1) < 1.1 * peak(16) + 50_000


def test_tokens_are_counted_without_a_wider_copy_of_all(tmp_path: Path):
    ids = np.memmap(tmp_path / "ids", np.dtype("<u2"), "w+", shape=(1 << 23) + 5)
    ids[:] = np.random.default_rng(0).integers(0, 7, len(ids))
    tracemalloc.start()
    counts = frequencies(ids, 9)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts.tolist() == [*(np.count_nonzero(ids == k) for k in range(7)), 0, 0]
    # A block as int64, and some room.
    assert most < 1.1 * 8 * (1 << 20)
    assert frequencies(ids[:0], 2).tolist() == [0, 0]


def test_the_split_is_the_beginning_and_the_end(tmp_path: Path, text: Path):
    file = encode_corpus(find(str(text)), VocabularyConfig(), tmp_path)
    train, validation, test = file.split(0.1)
    assert np.concatenate([train, validation]).tolist() == file.tokens.tolist()
    assert len(validation) == round(0.1 * len(file))
    assert len(test) == len(file.split(0.0)[1]) == 0
    parts = file.split(0.2, 0.3)
    assert np.concatenate(parts).tolist() == file.tokens.tolist()
    assert [len(part) for part in parts[1:]] == [round(share * len(file)) for share in (0.2, 0.3)]
    for shares in ((1.5, 0), (0.5, 0.5), (-0.1, 0), (0.1, -0.1)):
        with pytest.raises(DataError, match=r"at least 0, and together below 1, not "):
            file.split(*shares)


def test_lines_that_can_not_be_read_are_skipped_up_to_a_limit(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfgood\r\nb\xe4d\n\xc3\xa4 good\n\0\nlast")
    clean = tmp_path / "b.txt"
    clean.write_text("good\r\n\u00e4 good\nlast", newline="")
    expected = encode_corpus(find(str(clean)), VocabularyConfig(), tmp_path / "cache")
    bad = BadRows(2)
    file = encode_corpus(find(str(path)), VocabularyConfig(), tmp_path / "cache", bad=bad)
    assert file.tokens.tolist() == expected.tokens.tolist()
    assert file.fingerprint == expected.fingerprint
    assert file.skipped == (
        "skipped 2 bad rows:",
        f"  {path}, line 2: byte 0xe4 in column 2 is not UTF-8: give the file's encoding "
        "(latin-1?)",
        f"  {path}, line 4: there is a NUL byte: the file is binary, or UTF-16 (give its encoding)",
    )
    # What is in the cache says the same, and is not there for who allows fewer.
    again = encode_corpus(find(str(path)), VocabularyConfig(), tmp_path / "cache", bad=BadRows(2))
    assert again == file
    with pytest.raises(DataError, match="2 rows can't be read and --skip-bad allows 1: "):
        encode_corpus(find(str(path)), VocabularyConfig(), tmp_path / "cache", bad=BadRows(1))
    with pytest.raises(DataError, match=r"is binary \(or UTF-16\): it has a NUL byte"):
        encode_corpus(find(str(path)), VocabularyConfig(), tmp_path / "cache", bad=BadRows(0))
    whole = encode_corpus(find(str(path)), VocabularyConfig("byte"), tmp_path, bad=BadRows(1))
    assert whole.skipped == ()
    assert len(whole) == path.stat().st_size + 2


@pytest.mark.parametrize("block", [7, 8, 11, 1 << 22])
def test_bad_lines_are_found_wherever_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
):
    monkeypatch.setattr("unrolled.data.corpus._BLOCK", block)
    lines = [b"one", b"\xfftwo", b"", b"th\xc3\xa4ree", b"\xfe", b"\xfd"]
    for end in (b"", b"\n"):
        path = tmp_path / "a.txt"
        path.write_bytes(b"\n".join(lines) + end)
        bad = BadRows(9)
        assert "".join(readable(find(str(path))[0], "utf-8", bad)) == "one\n\nth\u00e4ree\n"
        assert [line.split(":")[0][-6:] for line in bad.lines()] == ["line 2", "line 5", "line 6"]
