"""The two C files of a program: its header, and the source with everything else."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from unrolled.backends.cpu.text import aligned, note
from unrolled.interop.c import blob
from unrolled.interop.c.names import identifier
from unrolled.interop.c.program import Placed, Program
from unrolled.interop.c.spelling import HELPERS
from unrolled.interop.c.text import floats, rows
from unrolled.interop.c.weights import Array
from unrolled.ir import n_elements

MARK = "// Written by `unrolled export c`; a new export replaces this file."
"""The first line of every C file of ours: what has it may be replaced."""


def header(program: Program, by_blob: bool) -> str:
    """``name.h``: sizes, the state's struct and the functions."""
    name, up = program.name, program.name.upper()
    sizes = [
        (f"#define {up}_INPUT_SIZE {program.network.input_size}", "length of x")
        if not program.network.tokens
        else (f"#define {up}_TOKENS {program.network.tokens}", "tokens are 0 to this less 1"),
        *(
            (f"#define {up}_{_suffix(k, o.name)} {n_elements(o.var.shape)}", f"length of {o.name}")
            for k, o in enumerate(program.outputs)
        ),
        (f"#define {up}_WEIGHTS {program.weights.size}", "numbers of the weights"),
    ]
    if by_blob:
        total = blob.HEADER + 4 * program.weights.size
        sizes.append((f"#define {up}_BLOB_BYTES {total}", "bytes of the blob"))
    members = [(f"float {f.name}[{f.size}];", f.what) for f in program.fields]
    if program.scratch:
        members.append((f"float scratch[{program.scratch}];", "for the time of a step"))
    if by_blob:
        members.append(("const float *weights;", "in the blob"))
    lines = [
        MARK,
        *_usage(program, by_blob),
        f"#ifndef {up}_H",
        f"#define {up}_H",
        "",
        "#include <stddef.h>",
        "",
        *aligned(sizes),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "// What is carried from step to step, and scratch memory. One for each sequence.",
        f"typedef struct {name}_state {{",
        *("    " + line for line in aligned(members)),
        f"}} {name}_state;",
        "",
        *_declarations(program, by_blob),
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def source(program: Program, by_blob: bool) -> str:
    """``name.c``: weights, the step of each layer, and the functions of the header."""
    name = program.name
    includes = ["math.h", *(["stdint.h"] if by_blob else []), "string.h"]
    parts = [
        "\n".join([MARK, f'#include "{name}.h"', "", *(f"#include <{i}>" for i in includes)]),
        "// It does not compile where numbers are not of 32 bits.\n"
        f"typedef char {name}_float_has_4_bytes[sizeof(float) == 4 ? 1 : -1];",
    ]
    if not by_blob:
        parts += [_array(a) for a in program.weights.arrays]
    parts += [HELPERS[h].rstrip() for h in program.helpers]
    written: set[str] = set()
    for p in program.placed:
        if p.function.name not in written:
            written.add(p.function.name)
            parts.append(p.function.text.rstrip())
    parts.append(_reset(program, by_blob))
    if by_blob:
        parts += [blob.CHECK.rstrip(), _init(program)]
    parts.append(_step(program, by_blob))
    return "\n\n".join(parts) + "\n"


def signature(program: Program) -> str:
    """The declaration of the step, without what ends it."""
    given = "size_t token" if program.network.tokens else "const float *x"
    pointers = ", ".join(f"float *{_pointer(program, k)}" for k in range(len(program.outputs)))
    kind = "int" if program.network.tokens else "void"
    return f"{kind} {program.name}_step({program.name}_state *state, {given}, {pointers})"


def _usage(program: Program, by_blob: bool) -> list[str]:
    names = [p.layer.graph.name for p in program.placed]
    layers = ", ".join(f"{len(list(g))} x {n}" for n, g in groupby(names))
    carried = sum(f.size for f in program.fields)
    kept = "in a blob of its own" if by_blob else "in the program"
    return [
        "//",
        note(f"Layers: {layers}."),
        note("One step of one sequence in C99, with libm and nothing else."),
        note(f"Weights: {4 * program.weights.size} bytes, {kept}. State: {4 * carried} bytes,"),
        note(f"scratch memory: {4 * program.scratch} bytes. Nothing is allocated, and nothing but"),
        note("the struct is written to, so that any number of sequences can run at once."),
    ]


def _declarations(program: Program, by_blob: bool) -> list[str]:
    name, up = program.name, program.name.upper()
    started = "their initial values" if any(f.initial for f in program.fields) else "zero"
    lines = []
    if by_blob:
        errors = [
            (f"#define {up}_BLOB_{code} {k}", what) for k, (code, what) in enumerate(blob.ERRORS, 1)
        ]
        lines += [
            f"// Checks the content of {name}.bin, which stays where it is while the state is",
            "// used (an array of floats, or a mapped file), and resets the state. Gives 0, or the",
            "// reason why the blob is refused:",
            *aligned(errors),
            f"int {name}_init({name}_state *state, const void *blob, size_t bytes);",
            "",
        ]
    lines += [
        f"// Sets all states to {started}: what stands before a sequence's first step.",
        f"void {name}_reset({name}_state *state);",
        "",
    ]
    if program.network.tokens:
        lines += [
            "// A token in, the logits of the next one out. Gives 0; where there is no such token",
            "// it does nothing and gives -1.",
        ]
    else:
        lines.append("// One step: reads x, writes the rest. They must not overlap.")
    return [*lines, f"{signature(program)};"]


def _array(array: Array) -> str:
    values = array.values
    return "\n".join(
        [
            note(array.note),
            f"static const float {array.name}[{values.size}] = {{",
            *rows(floats(np.ascontiguousarray(values))),
            "};",
        ]
    )


def _reset(program: Program, by_blob: bool) -> str:
    lines = [
        f"memset(state->{f.name}, 0, sizeof state->{f.name});"
        if f.initial is None
        else f"memcpy(state->{f.name}, {_weights(f.initial, by_blob)}, sizeof state->{f.name});"
        for f in program.fields
    ]
    return "\n".join(
        [
            f"void {program.name}_reset({program.name}_state *state) {{",
            *("    " + line for line in lines),
            "}",
        ]
    )


def _init(program: Program) -> str:
    name, up = program.name, program.name.upper()
    magic, model = blob.MAGIC.decode(), f"0x{blob.fingerprint(program.weights):08X}"
    codes = {code: f"{up}_BLOB_{code}" for code, _ in blob.ERRORS}
    return f"""\
int {name}_init({name}_state *state, const void *blob, size_t bytes) {{
    const unsigned char *const b = (const unsigned char *)blob;
    const uint32_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    if (first != 1) {{
        return {codes["MACHINE"]};
    }}
    if (bytes != {up}_BLOB_BYTES) {{
        return {codes["SIZE"]};
    }}
    if ((uintptr_t)blob % sizeof(float) != 0) {{
        return {codes["ALIGNMENT"]};
    }}
    if (memcmp(b, "{magic}", {len(magic)}) != 0 || number_at(b + 8) != {blob.VERSION}u) {{
        return {codes["FORMAT"]};
    }}
    if (number_at(b + 12) != {up}_WEIGHTS || number_at(b + 16) != {model}u) {{
        return {codes["MODEL"]};
    }}
    if (number_at(b + 20) != crc32_of(b + {blob.HEADER}, bytes - {blob.HEADER})) {{
        return {codes["CHECKSUM"]};
    }}
    state->weights = (const float *)(const void *)(b + {blob.HEADER});
    {name}_reset(state);
    return 0;
}}"""


def _step(program: Program, by_blob: bool) -> str:
    lines: list[str] = []
    links = program.own_scratch
    given = "x"
    if program.network.tokens:
        lines += [f"if (token >= {program.name.upper()}_TOKENS) {{", "    return -1;", "}"]
        if program.embedding is not None:
            size = program.network.input_size
            given = f"{_weights(program.embedding, by_blob)} + token * {size}"
        else:
            given = _scratch(links + program.links * program.link_size)
            lines += [
                f"float *const one_hot = {given};",
                f"memset(one_hot, 0, {program.one_hot} * sizeof(float));",
                "one_hot[token] = 1.0f;",
            ]
            given = "one_hot"
    for k, p in enumerate(program.placed):
        last = k == len(program.placed) - 1
        to = _pointer(program, 0) if last else _scratch(links + (k % 2) * program.link_size)
        lines += _call(program, p, given, to, by_blob)
        given = to
    if program.network.tokens:
        lines.append("return 0;")
    return "\n".join([f"{signature(program)} {{", *("    " + line for line in lines), "}"])


def _call(program: Program, p: Placed, given: str, to: str, by_blob: bool) -> list[str]:
    further = [_pointer(program, k) for k in range(1, len(program.outputs))]
    arguments = [
        *(_weights(a, by_blob) for a in p.arrays),
        given,
        *(f"state->{f.name}" for f in p.fields),
        to,
        *(further if len(p.function.outputs) > 1 else []),
        *(["state->scratch"] if p.function.scratch else []),
    ]
    lines = rows(arguments)
    lines[-1] = lines[-1].removesuffix(",") + ");"
    return [f"{p.function.name}(", *lines]


def _weights(array: Array, by_blob: bool) -> str:
    if not by_blob:
        return array.name
    return f"state->weights + {array.offset}" if array.offset else "state->weights"


def _scratch(offset: int) -> str:
    return f"state->scratch + {offset}" if offset else "state->scratch"


def _pointer(program: Program, k: int) -> str:
    """What the step calls an output of its."""
    first = "logits" if program.network.tokens else "y"
    return first if k == 0 else f"out_{identifier(program.outputs[k].name)}"


def _suffix(k: int, output: str) -> str:
    return "OUTPUT_SIZE" if k == 0 else f"{identifier(output).upper()}_SIZE"
