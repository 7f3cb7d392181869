"""What a drawn cell may say: expressions over all functions, with blanks for their operands.

The blanks are filled with earlier values, new parameters or captured constants (``blanks.py``):

    {x}  any number, vector or matrix
    {y}  a value or a literal that broadcasts to x
    {z} {r}  values of x's shape
    {c} {e}  conditions of x's shape
    {v}  a vector
    {u} {t}  vectors of v's length, {n}
    {o}  another vector
    {i}  an index of v
    {w}  a vector of two entries or more
    {a}  a vector of w's length, one more than {rest}
    {m}  a matrix
    {k}  a vector as long as m's rows
    {A}  a matrix of parameters with v's length in columns; {B} with two rows or more
    {b}  a vector as long as A's columns
    {G}  a matrix of parameters to multiply A with from the left
    {R}  a matrix of parameters with v's length in rows; {S} a square one
    {C}  a matrix of parameters for v and o joined
    {L} {M}  matrices of parameters to multiply m with from left and right
    {Q}  two matrices of parameters in one array, for v
    {name}  what the result will be called

Values stay within about ±2, so that 50 steps stay finite: a ``wild`` expression, which may leave
these bounds, is drawn in by a bounded function.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """An expression with blanks, or lines that define ``{name}``; ``wild`` if it may grow large."""

    text: str
    wild: bool = False


def _each(template: str, names: str) -> tuple[str, ...]:
    return tuple(template.replace("{f}", name) for name in names.split())


ELEMENTWISE = (
    *_each("torch.{f}({x})", "tanh sigmoid relu sin cos erf sign neg negative abs absolute"),
    # torch's own derivative of sgn is a tensor that some of its other derivatives can't write to.
    "torch.sgn({x}.detach())", "torch.clone({x})", "{x}.cos()", "torch.sin({x}) * torch.cos({z})",
    "{x}.sign()",
    "torch.sign({x}) * {z}", "torch.cos(3 * {x})", "{x} / 2 * torch.cos({z})",
    "torch.minimum({x}, {z}) / 2 * {r}", "torch.minimum(torch.maximum({x}, -{z}), {r})",
    "torch.maximum({x}, {z}) / 2 - torch.minimum({x}, {r}) / 2", "F.relu(-torch.minimum({x}, {z}))",
    "torch.maximum({x}, {z} * {r} / 2)",
    *_each("F.{f}({x})", "relu softplus logsigmoid silu mish gelu softsign selu elu hardswish"),
    "{x}.tanh()", "-{x}", "abs({x})", "torch.special.expit({x})", "{x}.detach()",
    "torch.detach({x})", "{x}.contiguous()", "torch.nn.functional.sigmoid({x})", "{x}.double()",
    "0.25 * torch.exp({x})", "{x}.expm1() / 4", "torch.log({x}.abs() + 1.5)",
    "torch.log1p({x} * {x})", "torch.sqrt({x} ** 2 + 0.25)", "torch.rsqrt({x}.square() + 0.5)",
    "torch.reciprocal({x}.abs() + 0.5)", "{x} ** 2 / 2", "{x}.pow(3) / 4",
    "({x}.abs() + 0.5) ** -0.5", "torch.pow({x}.abs() + 0.5, 1.5) / 2", "0.25 * 2.0 ** {x}",
    "torch.float_power({x}, 2.0) / 2", "{x} ** 0 + {x} ** 1", "torch.square({x}) / 2",
    "F.leaky_relu({x}, 0.2)", "F.elu({x}, 0.75)", "F.celu({x}, 1.5)", "F.softplus({x}, beta=2.0)",
    "F.softplus(8 * {x}, threshold=10.0) / 8", "F.gelu({x}, approximate='tanh')",
    "F.hardtanh({x}, -0.5, 0.75)", "F.hardtanh({x})", "F.relu6(5 * {x}) / 5",
    "F.hardswish(2 * {x}) / 2", "torch.clamp({x}, -0.5, 0.5)", "{x}.clamp(min=-0.25)",
    "torch.clip({x}, max=0.75)", "torch.clamp({x}, min={z} - 0.5, max={z} + 0.5)",
    "torch.clamp({x}, max={z})", "torch.clamp_min({x}, 0.125)", "{x}.clamp_max(0.25)",
    "torch.ones_like({x}) - {x}", "torch.full_like({x}, 0.25) * {x}",
    "{x} + torch.zeros_like({x})", "1 / ({x} * {x} + 0.5)", "torch.lerp({x}, {z}, 0.25)",
    "torch.lerp({x}, {z}, torch.sigmoid({r}))", "torch.maximum({x}, {z})",
    "torch.minimum({x}, {z})", "torch.max({x}, {z})", "torch.min({x}, {z})",
    "torch.fmax({x}, {z})", "torch.fmin({x}, {z})", "F.relu({x}) - F.relu(-{x}).detach()",
    "torch.maximum(F.relu({x}), F.relu({z}))",
)  # fmt: skip

SUMS_AND_PRODUCTS = (
    "{x} + {y}", "{x} - {y}", "{y} - {x}", "{x} * {y}", "{y} * {x}", "{x} + {y} + {z} + {r}",
    "{x} / ({z}.abs() + 0.5)", "{y} / ({x}.abs() + 0.5)", "torch.add({x}, {z}, alpha=0.5)",
    "{x} + 0.5 + ({z} - 0.25)", "{x} - ({z} - {r})", "{x} * {z} * {r}", "2 * ({x} + {z})",
    "torch.sub({x}, {z}, alpha=2)", "torch.subtract({x}, {z})", "torch.rsub({x}, {z})",
    "torch.mul({x}, {z})", "torch.multiply({x}, {z})", "torch.div({x}, {z}.abs() + 1)",
    "torch.divide({x}, 1.5 + {z}.square())", "torch.true_divide({x}, 3)",
    "torch.addcmul({x}, {z}, {r}, value=0.5)", "{v}[:, None] * {o}[None, :]",
    "torch.outer({v}, {o})", "torch.ger({v}, {o})",
)  # fmt: skip

CONDITIONS = (
    *(f"{{x}} {sign} {{y}}" for sign in ("<", "<=", ">", ">=", "==", "!=")),
    *_each("torch.{f}({x}, {z})", "lt le gt ge eq ne less less_equal greater greater_equal"),
    "torch.not_equal({x}, {z})",
    "{x} > 0", "0.25 >= {x}", "F.relu({x}) == 0", "{c} & {e}", "{c} | {e}", "~{c}",
    *_each("torch.{f}({c}, {e})", "logical_and logical_or bitwise_and bitwise_or"),
    *_each("torch.{f}({c})", "logical_not bitwise_not"), "F.relu({x}).bool()",
)  # fmt: skip

CHOICES = (
    "torch.where({c}, {x}, {z})", "torch.where({c}, {x}, 0.5)", "torch.where({c}, 1.0, {x})",
    "{x}.where({c}, {z})", "{c} * {x}", "{c}.to({x}.dtype)", "{c}.type_as({x})", "{c}.double()",
    "{c}.float() * {x}", "{c}.type(torch.float64)", "torch.where({c} & {e}, {x}, -{x})",
    "torch.where({c}, torch.where({e}, {x}, {z}), {r})", "torch.where(~{c}, {x}, {z})",
    "~{c} & ({e} | ~{c})", "torch.where(~({c} | {e}), {x}, 0.25)",
)  # fmt: skip

REDUCTIONS = (
    "{x}.mean()", "torch.mean({v}, 0, keepdim=True)", "{m}.mean(1)", "{m}.mean(dim=(0, 1))",
    "{x}.max()", "torch.min({x})", "torch.amax({v}, 0)", "{m}.amax(1)",
    "torch.amin({v}, -1, keepdim=True)", "{m}.amin(dim=0, keepdim=True)",
    "torch.softmax({v}, -1)", "{m}.softmax(1)", "F.softmax({v}, dim=0)", "torch.softmax({m}, 0)",
    "F.rms_norm({v}, {v}.shape, {u}, eps=0.125)", "F.softmax(4 * {v}, -1)",
)  # fmt: skip

WILD_REDUCTIONS = (
    "{x}.sum()", "torch.sum({v}, -1, keepdim=True)", "{m}.sum(0)",
    "{m}.sum((0, 1), keepdim=True)", "torch.var({w}, -1, correction=0)",
    "torch.var({w}, 0, keepdim=True)", "{w}.var()", "torch.std({w}, 0)",
    "{w}.std(correction=0)", "{v}.norm()", "torch.norm({m}, dim=1, keepdim=True)",
    "torch.linalg.vector_norm({v})", "torch.linalg.vector_norm({m}, dim=0)",
    "torch.logsumexp({v}, 0)", "torch.logsumexp({m}, 1, keepdim=True)",
    "torch.log_softmax({v}, 0)", "F.log_softmax({m}, dim=1)", "F.layer_norm({w}, {w}.shape)",
    "F.layer_norm({w}, {w}.shape, {a}, {a}, eps=0.125)",
    "F.layer_norm({m}, {m}.shape[-1:], eps=0.25)", "F.rms_norm({v}, {v}.shape)",
    "{c}.double().sum()", "{c}.sum() * {x}", "torch.dot({v}, {u})", "torch.vdot({v}, {u})",
    "torch.inner({v}, {u})", "({v} * {u}).sum() * {t}", "{v} @ {u}",
)  # fmt: skip

PRODUCTS = (
    "{A} @ {v}", "{A} @ {v} + {b}", "{A} @ {v} + {b} * {b}", "torch.mv({A}, {v})",
    "torch.matmul({A}, {v})", "F.linear({v}, {A})", "F.linear({v}, {A}, {b})",
    "torch.addmv({b}, {A}, {v}, beta=0.5, alpha=2)", "{v} @ {R}", "torch.inner({v}, {A})",
    "torch.inner({A}, {v})", "{A} @ ({v} * {u})", "{A} @ {v} - {A} @ {u}", "{S} @ ({S} @ {v})",
    "{S} @ {v} + {v} @ {S}", "{C} @ torch.cat([{v}, {o}])", "{C} @ torch.cat([{o}, {v}]).flip(0)",
    "torch.cat([{v}, {o}]) @ {C}.T", "F.linear(torch.cat([torch.tanh({v}), {o}]), {C})",
    "{R}.T @ {v}", "{R}.t() @ {v}", "{R}.mT @ {v}", "{R}.transpose(0, 1) @ {v}",
    "torch.swapaxes({R}, 0, 1) @ {v}", "torch.swapdims({R}, -1, 0) @ {v}",
    "{R}.permute(1, 0) @ {v}", "torch.adjoint({R}) @ {v}", "{B}[1:] @ {v}",
    "{B}[[1, 0, 1]] @ {v}", "{B}[::2] @ {v}", "torch.cat([{B}[1:], {B}[:1]]) @ {v}",
    "{B}[0] * {v}", "{B}[0] @ {v}", "{B}.chunk(2)[1] @ {v}", "{B}.flip(0) @ {v}",
    "({S} - {S}.T) @ {v}", "({S} + {S}.T) @ {v}", "torch.tanh({A}) @ {v}",
    "({A} / {A}.norm(dim=1, keepdim=True)) @ {v}",
    "({b}[:, None] * {A} / torch.norm({A}, dim=1, keepdim=True)) @ {v}",
    "torch.softmax({A}, 0) @ {v}", "({G} @ {A}) @ {v}", "torch.mm({G}, {A}) @ {v}",
    "{G} @ ({A} @ {v})", "({A} * {A}.mean()) @ {v}", "torch.where({A} > 0, {A}, 0.5 * {A}) @ {v}",
    "{Q}[1] @ {v}", "{Q}.select(0, 0) @ {v}", "{Q}.unbind(0)[1] @ {v}", "{Q}.sum(0) @ {v}",
    "{m} @ {k}", "torch.matmul({m}, {k})", "{k} @ {m}.T", "{L} @ {m}", "{m} @ {M}",
    "torch.outer({v}, {u}) @ {t}",
)  # fmt: skip

SHAPES = (
    "torch.chunk({w}, 2)", "{w}.split(2)", "torch.split({w}, [1, {rest}])",
    "torch.split_with_sizes({w}, [{rest}, 1])", "torch.tensor_split({w}, 2)",
    "{w}.tensor_split((1,))", "torch.unbind({v})", "torch.unbind({m}, 1)", "{m}.chunk(2, dim=1)",
    "torch.cat([{v}, {o}])", "torch.concat([{o}, {v}], dim=-1)", "torch.concatenate([{v}, {v}])",
    "torch.hstack([{v}, {o}])", "torch.stack([{v}, {u}])", "torch.stack([{v}, {u}], 1).flatten()",
    "torch.stack([{v}, {u}], -1)", "torch.cat([{m}, {m}], 1)", "torch.hstack([{m}, {m}])",
    "{v}.reshape(1, -1)", "{v}.view(-1, 1)", "{m}.flatten()", "torch.ravel({m})",
    "{v}.unsqueeze(0)", "torch.unsqueeze({v}, -1)", "{m}.reshape(-1)",
    "torch.squeeze({v}[None, :])", "{v}[None].squeeze(0)", "torch.flip({v}, (0,))",
    "{m}.flip(0, 1)", "torch.roll({v}, 1)", "torch.roll({m}, 1, 0)",
    "torch.narrow({w}, 0, 1, {rest})", "torch.select({v}, 0, {i})",
    "torch.index_select({w}, 0, torch.tensor([1, 0, 1]))", "{w}[[1, 0, 1]]", "{w}[1:]",
    "{w}[:{rest}]", "{w}[::2]", "{w}[1::2]", "{v}[{i}]", "{v}[-1]", "{w}[..., 1:]", "{m}[0]",
    "{m}[:, 0]", "{m}[-1:, 1 - 1]", "{v}[0].expand(3)", "{v}[:1].expand(4)",
    "torch.broadcast_to({v}, (2, {n}))", "{v}[:1].expand_as({u}) * {u}",
    "torch.broadcast_tensors({v}, {v}[:1])", "{v}.repeat(2)", "torch.tile({v}, (2,))",
    "{m}.repeat(2, 1)", "{m}.T", "torch.t({m})", "{m}.transpose(0, 1)", "{m}.permute(1, 0)",
    "torch.swapaxes({m}, 0, 1)", "torch.swapdims({m}, -1, 0)", "{m}.adjoint()", "{m}.mT",
    "torch.stack([{v}[0], {v}[-1]])", "torch.cat([{w}[:1], {w}[1:]])",
    "torch.cat([{w}[1:], {w}[:1]])",
)  # fmt: skip

PROGRAMS = (
    "blend(torch.sigmoid({v}), {u}, {t})",
    "smoothed({v}, {u}, 3)",
    "running_means({v})",
    "highway({v}, {S}, {u})",
    "{name} = {v}\nfor k in range(3):\n    {name} = torch.tanh({name} * {u} + 0.125 * k)",
    "{name} = {v}\nfor part in ({u}, {t}):\n    {name} = 0.5 * ({name} + part)",
    "{name} = sum({v}[k] * {v}[-1 - k] for k in range({n})) / {n}",
)

HELPERS = {
    "blend": """\
def blend(gate, a, b):
    return gate * a + (1 - gate) * b


""",
    "smoothed": """\
def smoothed(v, rate, times):
    keep = torch.sigmoid(rate)
    for _ in range(times):
        v = keep * v + (1 - keep) * v.mean()
    return v


""",
    "running_means": """\
def running_means(v):
    total, means = 0.0, []
    for n, entry in enumerate(v, 1):
        total = total + entry
        means.append(total / n)
    return torch.stack(means)


""",
    "highway": """\
def highway(v, weight, bias):
    gate = torch.sigmoid(F.linear(v, weight, bias))
    return blend(gate, torch.tanh(weight @ v), v)


""",
}
"""Functions that drawn cells call, as a user's own helpers; later ones may call earlier ones."""

_WILD = (SUMS_AND_PRODUCTS, WILD_REDUCTIONS, PRODUCTS)
_TAME = (ELEMENTWISE, CONDITIONS, CHOICES, REDUCTIONS, SHAPES, PROGRAMS)

FORMS: tuple[Form, ...] = (
    *(Form(text) for group in _TAME for text in group),
    *(Form(text, wild=True) for group in _WILD for text in group),
)
"""Every form once."""

BOUNDED = (
    "torch.tanh({})",
    "torch.sigmoid({})",
    "torch.sin({})",
    "F.softsign({})",
    "torch.erf({})",
)
"""What draws a wild value in."""
