"""A Graph as LaTeX: the equations of the cell, typeset from what is compiled.

Values with a name of the user's own get a line each, the rest stand in place.  A state is
``h_{t-1}`` where it is read and ``h_t`` where it is computed; a join that is cut into named parts
is written as a column, ``[r_t; z_t] = …``.  Distinct values have distinct symbols: where two would
share one, the later gets a further number.  Spelling and precedence of each op stand in the op
table.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from itertools import count

from unrolled.ir import Atom, Equation, Graph, Var, number
from unrolled.ops import TABLE

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ", "eta": "η",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ",
    "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω",
}  # fmt: skip
"""Names that are set as a Greek letter, and the letter."""

ACCENTS = {"tilde": "\u0303", "hat": "\u0302", "bar": "\u0304"}
"""Parts of a name that stand above the rest: commands of LaTeX, and combining characters."""

NEEDED = {
    "add": (0, 0), "sub": (0, 1), "mul": (1, 1), "matmul": (2, 2), "neg": (1,), "pow": (3,),
    "transpose": (3,), "slice": (3,), "take": (3,), "sum": (1,), "logical_not": (1,),
    "logical_and": (1, 1), "logical_or": (1, 1),
}  # fmt: skip
"""The precedence that an operand must have to stand without parentheses; 0 where not listed."""

INFIX = {"add", "sub", "mul", "matmul"}
RAISED = {"pow", "transpose"}
INLINE = {"broadcast", "reshape", "detach"}
MOST_POSITIONS = 4
"""So many indices of a rearrangement are listed; of more, the first two and the last."""


def latex(graph: Graph) -> str:
    """The equations of a step as an ``aligned`` block for LaTeX, KaTeX or MathJax."""
    lines = _Typesetter(graph).lines()
    body = " \\\\\n".join(f"  {left} &= {right}" for left, right in lines)
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


class _Typesetter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made = graph.definitions()
        self.uses = Counter(v for e in graph.equations for v in e.inputs)
        self.next = {
            v: s for s, v in reversed([*zip(graph.states, graph.next_states, strict=True)])
        }
        self.columns = self._columns()
        self.in_column = {part for parts in self.columns.values() for part in parts}
        self.symbols, self.after, self.put_out = self._symbols()

    def _columns(self) -> dict[Var, list[Var]]:
        """Values that are cut, without gaps, into parts that have names."""
        cuts: dict[Var, list[Equation]] = defaultdict(list)
        for equation in self.graph.equations:
            if equation.op == "slice" and equation["step"] == 1 and _has_name(equation.out):
                cuts[equation.inputs[0]].append(equation)
        columns: dict[Var, list[Var]] = {}
        leaving = {*self.graph.next_states, *(output.var for output in self.graph.outputs)}
        for source, parts in cuts.items():
            parts.sort(key=lambda e: int(e["start"]))
            starts = [int(e["start"]) for e in parts]
            ends = [0, *(int(e["stop"]) for e in parts)]
            axis = parts[0]["axis"]
            one_axis = all(e["axis"] == axis for e in parts) and axis == -len(source.shape)
            if (
                one_axis
                and [*starts, int(source.shape[axis])] == ends
                and self.uses[source] == len(parts)
                and source not in leaving
            ):
                columns[source] = [e.out for e in parts]
        return columns

    def _symbols(self) -> tuple[dict[Var, str], dict[Var, str], dict[str, str]]:
        """The symbols of what stands by itself, of the states after the step, and of the outputs.

        What the step is given and what leaves it keep their names; what is computed on the way
        makes room for them.
        """
        graph, taken = self.graph, set[str]()

        def claim(name: str, time: str) -> str:
            tried = (_subscript(f"{name}_{k}" if k else name, time) for k in count())
            symbol = next(text for text in tried if text not in taken)
            taken.add(symbol)
            return symbol

        found = {v: claim(v.name, "t") for v in graph.inputs}
        found |= {v: claim(v.name, "t-1") for v in graph.states}
        after = {v: claim(v.name, "t") for v in graph.states}
        found |= {v: after[s] for v, s in self.next.items() if v in self.made}
        put_out: dict[str, str] = {}
        for output in graph.outputs:
            if output.var in graph.next_states[:1] and output.name == "y":
                continue  # the first state says all
            symbol = _subscript(output.name, "t")
            known = found.get(output.var) == symbol
            put_out[output.name] = symbol if known else claim(output.name, "t")
            own = re.fullmatch(rf"{re.escape(output.name)}(_\d+)?", output.var.name)
            if own and output.var in self.made:
                found.setdefault(output.var, put_out[output.name])
        for var in (*graph.sources, *self.made):
            if var not in found and self._stands(var):
                name = var.name if _has_name(var) else f"v_{var.name[1:]}"
                found[var] = claim(name, "t" if var.per_step else "")
        return found, after, put_out

    def lines(self) -> list[tuple[str, str]]:
        lines: list[tuple[str, str]] = []
        for source in self.graph.parameters:
            if source in self.columns:
                lines.append((self._column(source), self.symbols[source]))
        for equation in self.graph.equations:
            var = equation.out
            if var in self.columns:
                lines.append((self._column(var), self._right(equation)))
            elif self._has_line(var):
                lines.append((self.symbols[var], self._right(equation)))
        for state, after in zip(self.graph.states, self.graph.next_states, strict=True):
            if self.text(after, 0) != self.after[state]:
                lines.append((self.after[state], self.text(after, 0)))
        for output in self.graph.outputs:
            left = self.put_out.get(output.name)
            if left is not None and self.text(output.var, 0) != left:
                lines.append((left, self.text(output.var, 0)))
        return lines

    def _column(self, source: Var) -> str:
        parts = r" \\ ".join(self.symbols[p] for p in self.columns[source])
        return rf"\begin{{bmatrix}} {parts} \end{{bmatrix}}"

    def _has_line(self, var: Var) -> bool:
        """Whether a value gets a line: it has a name, is a next state, or is read twice."""
        if var in self.in_column:
            return False
        if self.made[var].op in INLINE:
            return False
        if var in self.next:
            return True
        view = TABLE[self.made[var].op].cost == "view"
        return (_has_name(var) or self.uses[var] > 1) and not (view and not _has_name(var))

    def _stands(self, var: Var) -> bool:
        return var not in self.made or self._has_line(var) or var in self.in_column

    def text(self, atom: Atom, needed: int) -> str:
        """An operand, in parentheses where its precedence is below what is needed."""
        if not isinstance(atom, Var):
            return f"({_number(atom)})" if atom < 0 and needed > 0 else _number(atom)
        if self._stands(atom):
            return self.symbols[atom]
        equation = self.made[atom]
        if equation.op in INLINE:
            return self.text(equation.args[0], needed)
        text = self._right(equation)
        return rf"\left({text}\right)" if TABLE[equation.op].latex[0] < needed else text

    def _right(self, equation: Equation) -> str:
        needs = NEEDED.get(equation.op, ())
        args = [
            self.text(a, needs[k] if k < len(needs) else 0) for k, a in enumerate(equation.args)
        ]
        template = TABLE[equation.op].latex[1]
        if equation.op == "mul" and any(
            not isinstance(a, Var) or not a.shape for a in equation.args
        ):
            template = r"{0} \, {1}"
            if not isinstance(equation.args[1], Var):
                args.reverse()  # a number stands first
        if equation.op in RAISED and ("^" in args[0] or "'" in args[0]):
            args[0] = f"{{{args[0]}}}"  # else TeX finds two superscripts
        if equation.op in INFIX and args[1].startswith("-"):
            args[1] = rf"\left({args[1]}\right)"
        attributes = {n: _number(v) for n, v in equation.attributes if isinstance(v, float)}
        return template.format(
            *args, all=", ".join(args), positions=_positions(equation), **attributes
        )


def _positions(equation: Equation) -> str:
    """What a slice or a rearrangement takes, as ``:, 0:H`` or ``2, 0, 1``."""
    if equation.op == "slice":
        start, stop, step = (equation[n] for n in ("start", "stop", "step"))
        cut = f"{start}:{stop}" + ("" if step == 1 else f":{step}")
        if stop == start + 1:
            cut = str(start)
    elif equation.op == "take":
        indices = [str(k) for k in equation["indices"]]
        many = len(indices) > MOST_POSITIONS
        cut = ", ".join((*indices[:2], r"\ldots", indices[-1]) if many else indices)
        cut = cut if len(equation.inputs[0].shape) == 1 else f"({cut})"
    else:
        return ""
    rank = len(equation.inputs[0].shape)
    axes = [":"] * rank
    axes[equation["axis"]] = cut.replace("*", r" \, ")
    return ", ".join(axes)


def _number(value: float) -> str:
    if math.isinf(value):
        return r"\infty" if value > 0 else r"-\infty"
    digits, _, exponent = number(value).partition("e")
    if not exponent:
        return digits
    power = f"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"


def _has_name(var: Var) -> bool:
    return not re.fullmatch(r"v\d+", var.name)


def _subscript(name: str, time: str) -> str:
    base, *rest = [p for p in name.split("_") if p] or [name]
    text = "\\" + base if base in GREEK else base if len(base) == 1 else rf"\mathrm{{{base}}}"
    subscripts: list[str] = []
    for part in rest:
        if part in ("t", "prev") and time:
            continue  # the time says that already
        if part == "prime":
            text += "'"
        elif part in ACCENTS:
            text = rf"\{part}{{{text}}}"
        else:
            subscripts.append("\\" + part if part in GREEK else part)
    if time:
        subscripts.append(time)
    return f"{text}_{{{', '.join(subscripts)}}}" if subscripts else text
