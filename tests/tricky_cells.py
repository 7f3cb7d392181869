"""Cells that nobody would call textbook: each has something that a code generator may get wrong.

Sizes: D = H = 5, P = 17 and Q = 3.  A trailing dict names further outputs of a step.
"""

# pyright: basic

from __future__ import annotations

import torch
from torch import sigmoid, tanh

from unrolled import cell, param, state

INPUT_SIZE = HIDDEN_SIZE = 5
OTHER_SIZES = {"P": 17, "Q": 3}

MASK = torch.tensor([0.0, float("-inf"), 0.0, 0.0, float("-inf")], dtype=torch.float64)
TABLE = torch.tensor(
    [[0.5, -0.25, 1.0, 0.0, 2.0], [1.5, 0.125, -1.0, 0.75, 0.0]], dtype=torch.float64
)
W, U, b, a = param("H", "D"), param("H", "H"), param("H"), param("H")


# --- states that follow each other


@cell
def swapped(x, h, c, *, W=W, U=U):
    return tanh(c), (c, tanh(W @ x + U @ h) * h)


@cell
def delayed(x, h, c, *, W=W, U=U, V=U):
    return tanh(W @ x + U @ h + V @ c), h


@cell
def delayed_twice(x, h, c, p, *, W=W, U=U):
    return tanh(W @ x + U @ h + 0.5 * p), h, c


@cell
def delayed_slices(x, h, p=state("P"), *, U=U, W=param("P", "D")):
    return tanh(U @ h + p[3:8]), torch.cat([h, tanh(W @ x)[5:]]) + 0 * p


@cell
def shifted_in_a_register(x, h, p=state("P"), *, V=param("H", "P")):
    return tanh(V @ p) + h, torch.cat([x, p[:-5]])


@cell
def unchanged(x, h, c, *, W=W):
    return tanh(W @ x + h * c), c


@cell
def only_unchanged(x, h, *, U=U):
    return U @ h + x, (h,)


@cell
def becomes_the_input(x, h, *, U=U, b=b):
    return tanh(U @ h + b * x), (x,)


@cell
def becomes_part_of_the_input(x, q=state("Q"), *, V=param("H", "Q")):
    return V @ q, (x[1:4],)


@cell
def becomes_a_parameter(x, h, *, U=U, b=b):
    return U @ h + x, (b,)


@cell
def becomes_part_of_a_parameter(x, h, *, U=U, p=param("P")):
    return U @ h * x, (p[2:7],)


@cell
def becomes_a_product(x, h, *, U=U, V=U):
    return tanh(V @ tanh(U @ h)) + h, (U @ h,)


@cell
def becomes_part_of_a_product(x, h, c, *, U=param("3*H", "H"), W=W):
    z = U @ h
    return tanh(z[:5] + W @ x) + c, (z[5:10] * 0.5, z[10:])


@cell
def becomes_a_number(x, h, *, U=U):
    return U @ h + x, ((h * x).mean().expand(5),)


@cell
def both_the_same(x, h, c, *, W=W, U=U):
    n = tanh(W @ x + U @ (h - 0.5 * c))
    return n, (n, n)


@cell
def one_is_half_of_the_other(x, p=state("H+H"), h=state("H"), *, U=param("2*H", "H"), W=W):
    z = tanh(U @ h + torch.cat([W @ x, x]))
    return z, (z * 0.5 + p * 0.25, z[5:])


@cell
def rolled(x, h, c, *, a=a):
    return tanh(a * x + torch.roll(h, 1)), c.flip(0) * 0.5 + h[[0, 0, 2, 4, 1]]


@cell
def without_memory(x, h, *, W=W, b=b):
    return tanh(W @ x + b)


@cell
def without_parameters(x, h):
    return 0.5 * tanh(h * 1.5) + 0.25 * x


@cell
def diagonal(x, h, *, a=a, b=b):
    return sigmoid(a) * h + b * x


# --- reductions, broadcasting, axes


@cell
def normalised(x, h, *, W=W, U=U, g=b, b=b):
    v = W @ x + U @ h
    centred = v - v.mean()
    return tanh(g * centred / torch.sqrt((centred * centred).mean() + 1e-3) + b)


@cell
def attends(x, h, p=state("P"), *, K=param("P", "H"), V=param("H", "P")):
    weights = torch.softmax(K @ h - p.amax(), -1)
    return tanh(V @ weights + x), 0.5 * p + torch.log_softmax(K @ x, -1) * 0.25


@cell
def masked_softmax(x, h, *, U=U, W=W):
    return torch.softmax(U @ h + MASK.to(x.dtype), -1) + torch.where(MASK == 0, W @ x, 0.25 * h)


@cell
def numbers_everywhere(x, h, *, U=U, W=W):
    s, m = (h * x).sum(), torch.logsumexp(h, 0)
    spread = s.expand(5)
    parts = torch.cat([spread[1:3], m.expand(2), s.reshape(1)])
    return tanh(U @ spread + parts * m + W @ (m * spread)) * sigmoid(spread[2:4].sum() / 4)


@cell
def number_is_sliced(x, h, *, a=a):
    v = torch.cat([x, h]).mean().expand(5)
    return tanh(v[1:4].repeat(2)[:5] + a * h)


@cell
def fast_weights(x, h, p=state("H*D"), *, W=W):
    A = p.reshape(5, 5)
    y = tanh(A @ x + A.T @ h + W @ x)
    return y, 0.875 * p + 0.125 * torch.outer(y, x).reshape(-1)


@cell
def matrix_axes(x, h, *, M=param("H", "D"), K=param("Q", "H", "D")):
    A = M * torch.outer(h, x)
    B = K[1] + 0.5 * A.transpose(0, 1)
    sides = torch.cat([A[:, 1:3], B[:, ::2]], 1)
    return tanh(A.sum(0) + B.mean(1) + sides.amax(1) + torch.stack([h, x], 1)[:, 0] + K.sum((0, 1)))


@cell
def captured_matrix(x, h, *, U=U):
    z = TABLE.to(x.dtype) @ h
    return tanh(U @ h + z[0] * x - z[1] * TABLE[1].to(x.dtype))


@cell
def parts_of_parts(x, h, *, p=param("P"), V=param("P", "H")):
    z = tanh(V @ h) + p
    left, right = z[:9], z[9:]
    return (left[2:7] * right[:5] + left[4:9] - right[3:]) * 0.5 + p[:5] * x


# --- joins


@cell
def joined_twice(x, h, *, V=param("P", "H"), C=param("H", "P+5")):
    n = tanh(V @ h)
    return tanh(C @ torch.cat([n, x])) + torch.cat([n[:2], n[:1], n[:2]])


@cell
def joined_with_itself(x, h, *, C=param("H", "15")):
    n = h * x
    return tanh(C @ torch.cat([n, n, n[:4], h[:1]])), (torch.cat([n[3:], n[:3]]),)


@cell
def starts_of_values(x, h, *, r=param("4"), a=a):
    """Parts that begin where their wholes do, joined, added up over time and put out."""
    z = 1 / (torch.cat([r, x]) ** 2 + 0.5)
    return torch.cat([z[:4], h[:1]]), (tanh(h + a * z[:5]),)


@cell
def states_joined(x, h, q=state("Q"), *, C=param("H", "D+H+Q"), Q=param("Q", "D+H+Q")):
    v = torch.cat([x, h, q])
    return tanh(C @ v), tanh(Q @ v)


# --- products of several stages


@cell
def three_stages(x, h, *, U=U, V=param("P", "H"), R=param("H", "P"), W=W):
    r = sigmoid(U @ h + W @ x)
    return tanh(R @ tanh(V @ (r * h))) * r + 0.5 * h


@cell
def projected_output(
    x, h, p=state("P"), *, W=param("P", "D"), U=param("P", "P"), Y=param("Q", "P")
):
    new = tanh(W @ x + U @ p)
    return Y @ new, (h + new[:5], new)


@cell
def one_wide(x, h=state("1"), *, W=param("1", "D"), U=param("1", "1")):
    return tanh(W @ x + U @ h)


@cell
def wide(x, h=state("67"), *, W=param("67", "D"), U=param("67", "67")):
    return 0.5 * h + 0.5 * tanh(W @ x + U @ h)


@cell
def reads_late(x, h, c, *, U=U, V=U):
    """Its reverse step carries products that it reads after its last product."""
    n = tanh(U @ h)
    m = tanh(V @ (c + n))
    return n * m + x, (n, m)


# --- conditions


@cell
def conditional(x, h, *, W=W, U=U):
    v = W @ x + U @ h
    open_, far = v > 0, (h.abs() > 0.5) | (x <= -0.25)
    n = torch.where(open_ & ~far, tanh(v), torch.where(far, 0.5 * h, x))
    near = (x >= 0.125 * h) & (n < x)
    return torch.maximum(n, 0.25 * h) + (open_ != far) * 0.125 - torch.minimum(v, x) * near


@cell
def condition_of_a_product(x, h, *, W=W, U=U):
    v = tanh(W @ (x * x))
    return torch.where(v > U @ h, v, h * 0.5) + torch.where(x > b_like(h), v, 0.25)


def b_like(h):
    return torch.full_like(h, 0.125)


@cell
def powers(x, h, *, a=a):
    v = h * h + 0.5
    return v**0.5 - v**-1 + v**-0.5 + (h**3 + v**1.5) * 0.125 * a + torch.relu(x) ** 2


@cell
def functions(x, h, *, a=a):
    v = torch.exp(-h * h) + torch.erf(x) + torch.log1p(h * h) + torch.log(1.5 + torch.sin(x))
    return tanh(v * a) + torch.expm1(-(torch.cos(h) ** 2)) + torch.rsqrt(1 + torch.abs(h - x))


@cell
def stopped(x, h, *, U=U, a=a):
    kept = h.detach()
    return tanh(U @ kept + a * h * kept.exp()) + x


# --- outputs


@cell
def many_outputs(x, h, c, *, U=param("2*H", "H"), W=W, b=b, V=param("P", "H")):
    z, i = (U @ h + torch.cat([W @ x, x])).chunk(2)
    n = tanh(z) * sigmoid(i)
    further = {
        "gate": sigmoid(i), "old": h, "input": x, "part": x[1:3], "bias": b, "bias_part": b[:2],
        "product": V @ n, "half": (V @ c)[3:9], "number": n.mean().reshape(1), "new": n, "joined":
        torch.cat([n, c]), "reversed": c.flip(0), "count": (n > 0).sum().reshape(1) * 1.0,
    }  # fmt: skip
    return n[:4], (n, 0.5 * c + x), further


@cell
def puts_out_its_input(x, h, *, U=U):
    return x, (tanh(U @ h + x),)


@cell
def puts_out_its_state(x, h, *, U=U):
    return h, (tanh(U @ h + x),)


@cell
def puts_out_a_parameter(x, h, *, U=U, b=b):
    return b, (tanh(U @ h + x),)


# --- names that C or the templates use


@cell
def names(x, h, *, BIAS=param("H"), log=param("H"), unix=param("H"), next0=param("H", "H")):
    T = h * unix
    double = log + T
    sqrt = torch.sqrt(double * double + 1)
    exp = torch.exp(-sqrt) + BIAS
    out0, sum0, step = next0 @ (exp * x), exp - T, 2 * x
    r__r = tanh(out0 + sum0)
    h__h = r__r * step
    next_h = h * 3
    split = h__h + r__r + 0.25 * next_h
    erf = torch.erf(split)
    fabsf = erf.abs() + torch.log1p(split * split)
    return sum0 + fabsf, (h__h * 0.5 + 0.25 * fabsf,)


@cell
def follows_names(x, h, c, *, a=a):
    """The copy of a state needs a name, and next_c is taken."""
    next_c = tanh(a * h + x + 0.5 * c)
    return next_c * 2, (next_c, h)


TRICKY = {c.name: c for c in list(globals().values()) if type(c) is type(swapped)}
