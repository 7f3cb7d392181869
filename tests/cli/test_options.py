"""Options of several values: with commas between them, or as YAML writes a list."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from unrolled.cli.options import Options
from unrolled.errors import UserError


@dataclass(frozen=True)
class Several:
    """Lists.

    Attributes:
        names: Texts.
        shares: Numbers.
        sizes: Whole numbers.
        own: A file or several.
    """

    names: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.5,)
    sizes: tuple[int, ...] = ()
    own: list[str] | str | None = None


def options() -> Options:
    parser = Options("try", "[options]", "Tries.", "unrolled try")
    parser.add_argument("--config", action="config", help="a file")
    parser.add_fields(Several)
    return parser


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--names", "a,b"], ("a", "b")),
        (["--names=a, b"], ("a", "b")),
        (["--names", "[a,b]"], ("a", "b")),
        (["--names", '["a", "b c"]'], ("a", "b c")),
        (["--names", "word"], ("word",)),
        (["--names", "yes,1,null,: x,c's"], ("yes", "1", "null", ": x", "c's")),
        (["--names", ""], ()),
        ([], ()),
    ],
)
def test_texts(words: list[str], expected: tuple[str, ...]):
    assert options().read(words)["names"] == expected


def test_numbers():
    found = options().read(["--shares", "0.1,0.5,1e-1", "--sizes", "3,4"])
    assert (found["shares"], found["sizes"]) == ((0.1, 0.5, 0.1), (3, 4))
    assert options().read(["--shares=0.25"])["shares"] == (0.25,)
    assert options().value("sizes", "7,8") == (7, 8)


def test_what_may_be_a_text_stays_one():
    assert options().read(["--own", "a,b.txt"])["own"] == "a,b.txt"
    assert options().read(["--own", "[a.txt,b.txt]"])["own"] == ["a.txt", "b.txt"]


def test_a_list_in_a_file(tmp_path: Path):
    (tmp_path / "c.yaml").write_text("names: [a, b]\nshares: [0.1]\n")
    found = options().read(["--config", str(tmp_path / "c.yaml"), "--shares", "0.2,0.3"])
    assert (found["names"], found["shares"]) == (("a", "b"), (0.2, 0.3))


def test_what_is_no_list_of_numbers():
    with pytest.raises(UserError) as caught:
        options().read(["--sizes", "3,x"])
    assert str(caught.value).startswith("--sizes takes whole numbers with commas between them, not")
