"""The test program: runs the exported step on samples and compares it with Python's numbers."""

from __future__ import annotations

from collections.abc import Iterable

from unrolled.interop.c.program import Program
from unrolled.interop.c.samples import Samples
from unrolled.interop.c.source import MARK
from unrolled.interop.c.text import double, floats, rows
from unrolled.ir import n_elements


def check(program: Program, samples: Samples, by_blob: bool) -> str:
    """``name_test.c``, which says what it found and exits with 1 where a number is too far off."""
    name, up = program.name, program.name.upper()
    lengths = [n_elements(o.var.shape) for o in program.outputs]
    n_results = sum(lengths) + sum(f.size for f in program.fields)
    steps = len(samples.results)
    tokens = program.network.tokens
    x = (
        _table("size_t", "x", [steps], (str(int(t)) for t in samples.x))
        if tokens
        else _table("float", "x", [*samples.x.shape], floats(samples.x.numpy()))
    )
    expected = (double(v) for r in samples.results for v in r.expected.tolist())
    bound = (double(v) for r in samples.results for v in r.bound.tolist())
    includes = ["math.h", "stdio.h", "string.h"]
    parts = [
        "\n".join([MARK, f'#include "{name}.h"', "", *(f"#include <{i}>" for i in includes)]),
        f"enum {{ STEPS = {steps}, RESULTS = {n_results} }};",
        f"static {name}_state state;\nstatic float found[RESULTS];"
        + (f"\nstatic float blob[{up}_BLOB_BYTES / sizeof(float)];" if by_blob else ""),
        x,
        "// What Python computes in float64 from the same float32 weights: outputs, then states.\n"
        + _table("double", "expected", [steps, n_results], expected),
        _BOUND_NOTE + _table("double", "bound", [steps, n_results], bound),
        _STEP.format(body="\n".join(_step(program, lengths))),
        *([_LOAD.format(name=name)] if by_blob else []),
        _MAIN.format(
            arguments="int argc, char **argv" if by_blob else "void",
            start=_OPEN.format(name=name) if by_blob else f"    {name}_reset(&state);\n",
            name=name,
        ),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _table(kind: str, name: str, lengths: list[int], values: Iterable[str]) -> str:
    # One dimension: an initialiser of two would need its inner braces.
    n = 1
    for length in lengths:
        n *= length
    return "\n".join([f"static const {kind} {name}[{n}] = {{", *rows(values), "};"])


def _step(program: Program, lengths: list[int]) -> list[str]:
    """The statements that run a step, gather its results, and set the states for the next."""
    tokens, size = program.network.tokens, program.network.input_size
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    pointers = ", ".join(f"found + {start}" if start else "found" for start in starts)
    given = "x[t]" if tokens else f"x + t * {size}"
    call = f"{program.name}_step(&state, {given}, {pointers})"
    lines = [f"if ({call} != 0) {{", "    return -1;", "}"] if tokens else [f"{call};"]
    at = sum(lengths)
    for field in program.fields:
        lines += [
            f"for (size_t i = 0; i < {field.size}; i++) {{",
            f"    found[{at} + i] = state.{field.name}[i];",
            f"    state.{field.name}[i] = (float)expected[t * RESULTS + {at} + i];",
            "}",
        ]
        at += field.size
    return ["    " + line for line in lines]


_BOUND_NOTE = """\
// How far float32 may be from it: a running error analysis of the same equations, with libm's
// functions within 4 ulp.
"""

_STEP = """\
// Runs step t; each step begins at the state that Python has.
static int step(size_t t) {{
{body}
    return 0;
}}"""

_LOAD = """\
static int load(const char *path) {{
    FILE *const file = fopen(path, "rb");
    size_t n = 0;
    if (file == NULL) {{
        return -1;
    }}
    n = fread(blob, 1, sizeof blob, file);
    n += fgetc(file) != EOF;
    fclose(file);
    return {name}_init(&state, blob, n);
}}"""

_OPEN = """\
    const char *const path = argc > 1 ? argv[1] : "{name}.bin";
    const int refused = load(path);
    if (refused < 0) {{
        fprintf(stderr, "{name}: %s: can't be read\\n", path);
        return 2;
    }}
    if (refused > 0) {{
        fprintf(stderr, "{name}: %s: refused, reason %d\\n", path, refused);
        return 2;
    }}
"""

_MAIN = """\
int main({arguments}) {{
    double largest = 0.0, nearest = 0.0;
    int wrong = 0, unbounded = 0;
{start}    for (size_t t = 0; t < STEPS; t++) {{
        if (step(t) != 0) {{
            fprintf(stderr, "{name}: step %d was refused\\n", (int)t);
            return 2;
        }}
        for (size_t i = 0; i < RESULTS; i++) {{
            const double wanted = expected[t * RESULTS + i], most = bound[t * RESULTS + i];
            const double off = fabs((double)found[i] - wanted);
            if (isnan(wanted) ? isnan(found[i]) : (double)found[i] == wanted) {{
                continue;
            }}
            if (isinf(most)) {{
                unbounded++;
                continue;
            }}
            if (!(off <= most)) {{
                if (wrong == 0) {{
                    printf("{name}: step %d, number %d: %.9g, expected %.9g within %.3g\\n", (int)t,
                           (int)i, (double)found[i], wanted, most);
                }}
                wrong++;
            }}
            if (off > largest) {{
                largest = off;
            }}
            if (off > nearest * most) {{
                nearest = off / most;
            }}
        }}
    }}
    printf("{name}: %d steps, %d numbers: largest error %.3g, at most %.3g of its bound", STEPS,
           STEPS * RESULTS, largest, nearest);
    if (unbounded > 0) {{
        printf("; %d without a bound", unbounded);
    }}
    if (wrong > 0) {{
        printf("; %d WRONG", wrong);
    }}
    printf("\\n");
    return wrong > 0;
}}"""
