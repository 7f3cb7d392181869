"""The equations as MathML: well formed, aligned, and with all that the LaTeX says."""

from xml.etree import ElementTree

import pytest

from drawn_cells import ALL, graph_of
from unrolled.inspect.mathml import mathml
from unrolled.latex import latex

MATH = "{http://www.w3.org/1998/Math/MathML}"


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(mathml(text))


def inner(text: str) -> str:
    made = mathml(text)
    start = '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mrow>'
    assert made.startswith(start)
    return made.removeprefix(start).removesuffix("</mrow></math>")


@pytest.mark.parametrize("name", ALL)
def test_each_equation_is_a_row_with_two_sides(name: str) -> None:
    text = latex(graph_of(name))
    table = tree(text).find(f"./{MATH}mrow/{MATH}mtable")
    assert table is not None
    assert len(table) == text.count(" &= ")
    assert all(len(row) == 2 for row in table)


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_left_of_the_latex(name: str) -> None:
    text = latex(graph_of(name))
    words = "".join(tree(text).itertext())
    assert not set(words) & set("\\&_}")
    assert words.count("{") == text.count("begin{cases}")
    assert words.count("^") == text.count("\\hat")
    assert not any(w in words for w in ("odot", "mathrm", "left", "frac", "begin", "tilde"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\tilde{c}_{t}", "<msub><mover accent=\"true\"><mrow><mi>c</mi></mrow>"
         "<mo stretchy='false'>~</mo></mover><mrow><mi>t</mi></mrow></msub>"),
        ("h'_{t-1}", "<msubsup><mi>h</mi><mrow><mi>t</mi><mo>−</mo><mn>1</mn></mrow>"
         "<mrow><mo>′</mo></mrow></msubsup>"),
        (r"\Gamma_{u, t}", '<msub><mi mathvariant="normal">Γ</mi><mrow><mi>u</mi><mo>,</mo>'
         "<mi>t</mi></mrow></msub>"),
        ("W_{ih} x_{t}", "<msub><mi>W</mi><mrow><mi>ih</mi></mrow></msub>"
         '<mspace width="0.15em"/><msub><mi>x</mi><mrow><mi>t</mi></mrow></msub>'),
        (r"\sigma(v)", '<mi>σ</mi><mrow><mo form="prefix" stretchy="false">(</mo><mrow><mi>v</mi>'
         '</mrow><mo form="postfix" stretchy="false">)</mo></mrow>'),
        (r"\left(\frac{1}{2}\right)", '<mrow><mo form="prefix" stretchy="true">(</mo><mrow><mfrac>'
         '<mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac></mrow>'
         '<mo form="postfix" stretchy="true">)</mo></mrow>'),
        (r"e^{-x}", "<msup><mi>e</mi><mrow><mrow><mo>−</mo><mi>x</mi></mrow></mrow></msup>"),
        (r"10^{-5} \cdot 2.5", "<msup><mn>10</mn><mrow><mrow><mo>−</mo><mn>5</mn></mrow></mrow>"
         "</msup><mo>·</mo><mn>2.5</mn>"),
        (r"W^\top", "<msup><mi>W</mi><mrow><mi>⊤</mi></mrow></msup>"),
        (r"\lvert x \rvert", '<mrow><mo form="prefix" stretchy="false">|</mo><mrow><mi>x</mi>'
         '</mrow><mo form="postfix" stretchy="false">|</mo></mrow>'),
        (r"\operatorname{relu}(x)", '<mi mathvariant="normal">relu</mi><mrow>'
         '<mo form="prefix" stretchy="false">(</mo><mrow><mi>x</mi></mrow>'
         '<mo form="postfix" stretchy="false">)</mo></mrow>'),
    ],
)  # fmt: skip
def test_each_form(text: str, expected: str) -> None:
    assert inner(text) == expected


def test_cases_and_columns_are_tables() -> None:
    cases = tree(r"\begin{cases} a & x > 0 \\ b & \text{else} \end{cases}")
    assert [len(row) for row in cases.iter(f"{MATH}mtr")] == [2, 2]
    assert "".join(cases.itertext()) == "{ax>0belse"
    column = tree(r"\begin{bmatrix} r_{t} \\ z_{t} \end{bmatrix}")
    assert [len(row) for row in column.iter(f"{MATH}mtr")] == [1, 1]
    assert "".join(column.itertext()) == "[rtzt]"


@pytest.mark.parametrize(
    "text", ["<script>", "a & <b>", "{", "}", "_", "^", "\\frac", "(", r"\left"]
)
def test_what_no_typesetter_of_ours_writes_is_harmless(text: str) -> None:
    made = mathml(text)
    ElementTree.fromstring(made)
    assert "<script" not in made
    assert "<b>" not in made
