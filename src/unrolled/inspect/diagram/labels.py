"""What stands in a box: an operation's sign, with what is the same at every step written out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unrolled.inspect.diagram.fold import VIEWS, Folding, unnamed
from unrolled.inspect.diagram.names import Run, Text, plain, typeset
from unrolled.ir import Atom, Equation, Var

FORMS = {
    "neg": "− {0}", "add": "{0} + {1}", "sub": "{0} − {1}", "mul": "{0} ⊙ {1}",
    "div": "{0} / {1}", "abs": "| {0} |", "sigmoid": "σ", "expm1": "exp {0} − 1",
    "log1p": "log(1 + {0})", "sqrt": "√", "rsqrt": "1 / √", "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})", "lt": "{0} < {1}", "le": "{0} ≤ {1}", "gt": "{0} > {1}",
    "ge": "{0} ≥ {1}", "eq": "{0} = {1}", "ne": "{0} ≠ {1}", "logical_and": "{0} ∧ {1}",
    "logical_or": "{0} ∨ {1}", "logical_not": "¬ {0}", "where": "{1} if {0} else {2}",
    "matmul": "{0} {1}", "sum": "Σ", "amax": "max", "transpose": "{0}ᵀ",
}  # fmt: skip
"""How an op with operands is written; by its name where not listed."""

MARKS = {"where": ("c", "a", "b")}
"""What stands at the wires of operands that are told apart; the first letters where not listed."""

SYMMETRIC = {"maximum", "minimum", "eq", "ne", "logical_and", "logical_or"}


def joined(*parts: str | Text) -> Text:
    """Parts beside each other with spaces between them."""
    runs: list[Run] = []
    for part in parts:
        runs += [Run(" ")] if runs else []
        runs += plain(part) if isinstance(part, str) else part
    return tuple(runs)


def filled(equation: Equation, operands: Sequence[Text]) -> Text:
    """An equation's right side with these texts as operands."""
    op = equation.op
    if op == "cat":
        return _listed("[", operands, "]")
    if op in ("slice", "take"):
        whole = () if operands[0] == plain("·") else operands[0]
        return (*whole, Run(positions(equation)))
    if op == "pow":
        return (*operands[0], Run(raised(float(equation["exponent"]))))
    form = FORMS.get(op, op)
    if "{" not in form:  # a function, of what is written beside it where that is fixed
        return joined(form, *(t for t in operands if t != plain("·")))
    runs: list[Run] = []
    rest = form
    for _ in range(form.count("{")):
        before, _, rest = rest.partition("{")
        number, _, rest = rest.partition("}")
        runs += [Run(before)] if before else []
        runs += operands[int(number)]
    return (*runs, Run(rest)) if rest else tuple(runs)


def _listed(opening: str, parts: Sequence[Text], closing: str) -> Text:
    runs = [Run(opening)]
    for k, part in enumerate(parts):
        runs += [Run(", ")] if k else []
        runs += part
    return (*runs, Run(closing))


def positions(equation: Equation) -> str:
    """What a slice takes, in brackets."""
    if equation.op == "take":
        return "[…]"
    size = equation.inputs[0].shape[equation["axis"]]
    start = "" if equation["start"] == 0 else str(equation["start"])
    stop = "" if equation["stop"] == size else str(equation["stop"])
    cut = f"{start}:{stop}" + ("" if equation["step"] == 1 else f":{equation['step']}")
    rank = len(equation.inputs[0].shape)
    axes = [":"] * rank
    axes[equation["axis"]] = cut
    return f"[{', '.join(axes)}]".replace("*", "")


def fixed_text(folding: Folding, atom: Atom) -> Text | None:
    """A number, a parameter or a part of one in words; ``None`` for what gets a box."""
    if not isinstance(atom, Var):
        return plain(_short(atom))
    if atom.per_step:
        return None
    equation = folding.made.get(atom)
    if equation is None:
        return typeset(atom.name)
    if equation.op not in (*VIEWS, "slice", "transpose"):
        return None
    below = fixed_text(folding, equation.args[0])
    if below is None or equation.op in VIEWS:
        return below
    if not unnamed(atom):
        return typeset(atom.name)
    return filled(equation, [below])


def opened(folding: Folding, atoms: Iterable[Atom]) -> tuple[list[str], list[Equation]]:
    """The names of parameters and their parts in such texts, and the equations of these parts."""
    names: list[str] = []
    covers: list[Equation] = []
    for atom in atoms:
        while isinstance(atom, Var):
            if not unnamed(atom):
                names.append(atom.name)
            equation = folding.made.get(atom)
            if equation is None:
                break
            covers.append(equation)
            atom = equation.args[0]
    return names, covers


def raised(exponent: float) -> str:
    """An exponent, above the line where it is a whole number."""
    text = _short(exponent)
    if text.strip("−0123456789"):
        return f"^{text}"
    return text.translate(str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _short(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
