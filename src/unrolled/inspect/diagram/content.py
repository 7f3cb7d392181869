"""What a cell's picture shows: boxes, and wires between them, made of a Graph's equations.

The equations are those of the step with products over joins split (as the compiler does), so that
what can be computed before the loop stands apart.  They are walked from the last to the first:
a box is made for each value that a later box reads, and takes up the equations that fold into it
(:mod:`.fold`).
"""

from __future__ import annotations

from unrolled.inspect.diagram.boxes import Box, Content, Kind, Wire
from unrolled.inspect.diagram.fold import Folding, unnamed
from unrolled.inspect.diagram.labels import (
    MARKS,
    SYMMETRIC,
    filled,
    fixed_text,
    joined,
    opened,
    raised,
)
from unrolled.inspect.diagram.names import Text, plain, typeset
from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.concat import split_concatenated
from unrolled.passes.simplify import simplify
from unrolled.passes.stages import Stage

Operand = tuple[Var, str]
"""A value that a box reads, and the mark at its wire."""

Fixed = tuple[bool, Atom, Text]
"""A term or factor that is the same at every step: whether it is taken away, itself, in words."""


BEFORE, MINUS, TIMES = "t−1", "−", "×"


def content(graph: Graph) -> Content:
    """The boxes and wires of a step."""
    return _Builder(simplify(split_concatenated(simplify(graph.prune())))).build()


class _Builder:
    """Walks a graph's equations backward; what is demanded is what boxes so far read."""

    def __init__(self, graph: Graph) -> None:
        self.folding = Folding(graph)
        self.found = Content(graph)
        self.demanded: set[Var] = set()
        self.lines: dict[Var, list[Text]] = {}
        self.covers: dict[Var, list[Equation]] = {}
        self.parameters: dict[Var, list[str]] = {}
        self.inner: dict[str, str] = {}
        self.outer: dict[Var, Var] = {}
        pairs = zip(graph.states, graph.next_states, strict=True)
        self.next = {new: old for old, new in reversed([*pairs])}

    def build(self) -> Content:
        self.results()
        for equation in reversed(self.found.graph.equations):
            if equation.out in self.demanded:
                self.box(equation)
        self.sources()
        self.found.boxes.reverse()
        wires = [Wire(self.key(w.source), w.target, w.mark) for w in self.found.wires]
        self.found.wires = list(dict.fromkeys(wires))
        return self.found

    def key(self, name: str) -> str:
        while name in self.inner:
            name = self.inner[name]
        return name

    def sources(self) -> None:
        graph, add = self.found.graph, self.found.boxes.append
        for var in reversed((*graph.parameters, *(c.var for c in graph.constants))):
            if var in self.demanded:
                text = typeset(var.name)
                add(Box(var.name, "parameter", (text,), (), "before", (), (var.name,)))
        for var in reversed(graph.inputs):
            add(Box(var.name, "input", (typeset(var.name, "t"),), (), "before"))
        for var in reversed(graph.states):
            add(Box(var.name, "state", (typeset(var.name, BEFORE),), (), "loop"))

    def results(self) -> None:
        """New states, and outputs that are none."""
        graph = self.found.graph
        outputs: dict[Var, list[str]] = {}
        for output in graph.outputs:
            outputs.setdefault(output.var, []).append(output.name)
        for var, names in reversed(outputs.items()):
            if var not in graph.next_states:
                lane = self.folding.stage.get(var, "loop" if var in graph.states else "before")
                self.result(f"output {names[0]}", "result", names, var, lane)
        for state, new in reversed([*zip(graph.states, graph.next_states, strict=True)]):
            names = [state.name]
            if state is self.next[new]:
                names += [n for n in outputs.get(new, []) if n != state.name]
            self.result(f"next {state.name}", "next", names, new, "loop")

    def result(self, key: str, kind: Kind, names: list[str], var: Var, lane: Stage) -> None:
        text = typeset(names[0], "t")
        for name in names[1:]:
            text = joined(text, "=", typeset(name, "t"))
        covers = self.wire((var, ""), key)
        self.found.boxes.append(Box(key, kind, (text,), (), lane, tuple(covers)))

    def wire(self, operand: Operand, target: str) -> list[Equation]:
        """A wire from a value, past the views of it, which are returned."""
        value, views = self.folding.through(operand[0])
        assert isinstance(value, Var)
        self.found.wires.append(Wire(value.name, target, operand[1]))
        self.demanded.add(value)
        return views

    def box(self, equation: Equation) -> None:
        """Makes the box of a value."""
        if equation.out.per_step:
            norm = self.folding.norm(equation)
            if norm is not None:
                title, value, inside = norm
                return self.make(equation, "function", [plain(title)], [(value, "")], inside[1:])
            if equation.op in ("add", "sub"):
                return self.sum(equation)
            if equation.op == "mul":
                return self.product(equation)
        return self.other(equation)

    def sum(self, equation: Equation) -> None:
        terms, within = self.folding.terms(equation)
        wires: list[Operand] = []
        fixed: list[Fixed] = []
        biases: dict[Var, list[Fixed]] = {}
        carrier: Var | None = None
        for minus, atom in terms:
            text = fixed_text(self.folding, atom)
            if text is None:
                assert isinstance(atom, Var)
                wires.append((atom, MINUS if minus else ""))
                carrier = atom if not minus and self.carries(atom) else carrier
            elif carrier is not None and isinstance(atom, Var):
                biases.setdefault(carrier, []).append((minus, atom, text))
            else:
                fixed.append((minus, atom, text))
        first, mark = wires[0]
        if len(wires) == 1 and not mark and self.takes_up(first, equation):
            return self.append(equation, first, [*fixed, *biases.get(first, [])], within, "+")
        for of, added in biases.items():
            self.add_lines(of, added, "+")
        atoms = [a for _, a, _ in fixed]
        rest = [joined(MINUS if minus else "+", text) for minus, _, text in fixed]
        if len(wires) > 1:
            wires = self.known_before(equation, wires)
            return self.make(equation, "sign", [plain("+"), *rest], wires, within, atoms)
        open_term = joined(MINUS, "·") if mark else plain("·")
        if mark and fixed and not fixed[0][0]:  # 1 − ·
            line = joined(fixed[0][2], *rest[1:], open_term)
        else:
            line = joined(open_term, *rest)
        return self.make(equation, "function", [line], [(first, "")], within, atoms)

    def known_before(self, equation: Equation, wires: list[Operand]) -> list[Operand]:
        """The terms of a sum in the loop; those that are known before it are added there."""
        stage, inputs = self.folding.stage, self.found.graph.inputs
        early = [w for w in wires if w[0] in inputs or stage.get(w[0]) == "before"]
        if stage[equation.out] == "before" or len(early) < 2 or len(early) == len(wires):
            return wires
        name = f"{equation.out.name} before"
        covers = [v for w in early for v in self.wire(w, name)]
        self.found.boxes.append(Box(name, "sign", (plain("+"),), (), "before", tuple(covers)))
        return [(Var(name, equation.out.shape), ""), *(w for w in wires if w not in early)]

    def carries(self, var: Var) -> bool:
        """Whether a value's box can take up a bias or gain: a product or a normalisation."""
        folding, made = self.folding, self.folding.made.get(var)
        if made is None or not unnamed(var) or folding.uses[var] != 1 or not var.per_step:
            return False
        if made.op == "matmul":
            return fixed_text(folding, made.args[0]) is not None
        inner = [folding.inner(a, "mul") for a in made.args] if made.op == "mul" else []
        return folding.norm(made) is not None or any(e and folding.norm(e) for e in inner)

    def takes_up(self, var: Var, equation: Equation) -> bool:
        """Whether the box of a value can stand for this one as well."""
        stage = self.folding.stage
        return self.carries(var) and stage[var] == stage[equation.out]

    def append(
        self, equation: Equation, var: Var, added: list[Fixed], within: list[Equation], sign: str
    ) -> None:
        """Adds lines to the box of a value, which then stands for this one too."""
        out = equation.out
        self.add_lines(var, added, sign)
        self.lines[var] += self.lines.pop(out, [])
        self.covers[var] += [equation, *within, *self.covers.pop(out, [])]
        self.parameters[var] += self.parameters.pop(out, [])
        self.inner[out.name] = var.name
        self.outer[var] = out
        self.demanded.add(var)

    def add_lines(self, var: Var, added: list[Fixed], sign: str) -> None:
        names, covers = opened(self.folding, [atom for _, atom, _ in added])
        texts = [joined(MINUS if minus else sign, text) for minus, _, text in added]
        self.lines.setdefault(var, []).extend(texts)
        self.parameters.setdefault(var, []).extend(names)
        self.covers.setdefault(var, []).extend(covers)

    def product(self, equation: Equation) -> None:
        factors, within = self.folding.factors(equation)
        fixed: list[Fixed] = []
        wires: list[Operand] = []
        for atom in factors:
            text = fixed_text(self.folding, atom)
            if text is not None:
                fixed.append((False, atom, text))
            elif isinstance(atom, Var):
                wires.append((atom, ""))
        if len(wires) == 1 and fixed and self.takes_up(wires[0][0], equation):
            return self.append(equation, wires[0][0], fixed, within, "⊙")
        lines = [joined("⊙" if isinstance(a, Var) else TIMES, text) for _, a, text in fixed]
        atoms = [a for _, a, _ in fixed]
        if len(set(wires)) == 1:
            power = [plain(f"·{raised(len(wires))}")] if len(wires) > 1 else []
            return self.make(equation, "function", [*power, *lines], wires[:1], within, atoms)
        return self.make(equation, "sign", [plain("⊙"), *lines], wires, within, atoms)

    def other(self, equation: Equation) -> None:
        """An op by its symbol; what of its operands is fixed stands in it."""
        op = equation.op
        texts = [fixed_text(self.folding, a) for a in equation.args]
        fixed = [a for a, t in zip(equation.args, texts, strict=True) if t is not None]
        wires = [a for a in equation.inputs if fixed_text(self.folding, a) is None]
        kind: Kind = "function" if equation.out.per_step else "once"
        if op == "matmul" and texts[0] is not None and len(wires) == 1:
            kind = "product" if equation.out.per_step else "once"
            return self.make(equation, kind, [joined(TIMES, texts[0])], [(wires[0], "")], [], fixed)
        letters = MARKS.get(op, tuple("abcdefgh"))
        if op == "cat":
            called = [t or self.called(a) for a, t in zip(equation.args, texts, strict=True)]
            marks = [""] * len(wires)
        elif len(wires) == 1:
            called, marks = [t or plain("·") for t in texts], [""]
        else:
            called = [t or plain(letters[k]) for k, t in enumerate(texts)]
            marks = [m for m, t in zip(letters, texts, strict=False) if t is None]
            marks = [""] * len(wires) if op in SYMMETRIC else marks
        operands = list(zip(wires, marks, strict=True))
        return self.make(equation, kind, [filled(equation, called)], operands, [], fixed)

    def called(self, atom: Atom) -> Text:
        """What an operand is called; a point for what has no name."""
        graph = self.found.graph
        if not isinstance(atom, Var) or (unnamed(atom) and atom not in graph.sources):
            return plain("·")
        time = BEFORE if atom in graph.states else "t"
        return typeset(atom.name, time if atom.per_step else "")

    def make(
        self,
        equation: Equation,
        kind: Kind,
        lines: list[Text],
        operands: list[Operand],
        within: list[Equation],
        fixed: list[Atom] | None = None,
    ) -> None:
        out = equation.out
        names, covers = opened(self.folding, fixed or [])
        for operand in operands:
            covers += self.wire(operand, out.name)
        self.found.boxes.append(
            Box(
                out.name,
                kind,
                (*lines, *self.lines.get(out, [])),
                self.caption(out),
                self.folding.stage[out],
                (equation, *within, *covers, *self.covers.get(out, [])),
                tuple(dict.fromkeys([*names, *self.parameters.get(out, [])])),
            )
        )

    def caption(self, var: Var) -> Text:
        while var in self.outer:
            var = self.outer[var]
        if var in self.next:  # the box of the new state says its name
            read = self.folding.uses[var] > self.found.graph.results.count(var)
            return typeset(self.next[var].name, "t") if read else ()
        return () if unnamed(var) else typeset(var.name, "t" if var.per_step else "")
