"""The files made of the pronouncing dictionary: what is kept, and that no word is in both."""

import zipfile
from pathlib import Path

import pytest

from proofs import g2p_data

LINES = """\
A 1 AH0
A 2 EY1
A. 1 EY1
A42128 1 EY1 F AO1 R T UW1
D'ARTAGNAN 1 D AA0 R T AE1 N Y AH0 N
PERMIT 1 P ER0 M IH1 T
PERMIT 2 P ER1 M IH2 T
'EM 1 AH0 M
"""


def test_stress_goes_and_so_do_words_with_other_characters():
    assert g2p_data.dictionary(LINES.splitlines()) == {
        "a": ["AH", "EY"],
        "d'artagnan": ["D AA R T AE N Y AH N"],
        "permit": ["P ER M IH T"],
        "'em": ["AH M"],
    }


@pytest.mark.parametrize("line", ["", "A", "A 1", "A AH0", "A x AH0"])
def test_another_form_is_refused(line: str):
    with pytest.raises(ValueError) as caught:
        g2p_data.dictionary(["A 1 AH0", line])
    assert str(caught.value) == f"line 2: expected WORD NUMBER PHONEME …, got {line!r}"


def test_each_word_is_on_one_side():
    words = {f"w{i}": ["X", "Y"] for i in range(100)}
    train, test = g2p_data.split(words)
    assert len(train) == 90
    assert len(test) == 10
    assert train | test == words
    assert g2p_data.split(dict(reversed(words.items()))) == (train, test)
    assert g2p_data.split(words, seed=1) != (train, test)


@pytest.mark.parametrize("archive", [False, True])
def test_the_command_writes_both_files(
    tmp_path: Path,
    archive: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    lines = LINES + "".join(f"{c}{c} 1 AH0\nX{c} 1 EH1 K\n" for c in "BCD")
    path = tmp_path / "cmudict"
    path.write_text(lines, encoding="ascii")
    if archive:
        path = tmp_path / "cmudict.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("cmudict/cmudict", lines)
    monkeypatch.setattr("sys.argv", ["g2p_data", str(path), str(tmp_path / "out")])
    g2p_data.main()
    train, test = (
        (tmp_path / "out" / f"{name}.tsv").read_text().splitlines() for name in ("train", "test")
    )
    assert train[0] == test[0] == "source\ttarget"
    assert len(train) + len(test) == 2 + 11
    assert set(train[1:]).isdisjoint(test[1:])
    assert {"a\tAH", "a\tEY"} < set(train) | set(test)
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f"train.tsv: 9 words, {len(train) - 1} pronunciations",
        f"test.tsv: 1 words, {len(test) - 1} pronunciations",
    ]
