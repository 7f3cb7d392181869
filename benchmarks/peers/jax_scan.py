"""``jax.lax.scan`` under ``jax.jit``, gradients by ``jax.vjp`` in the same jitted function.

The products with x are taken for all steps before the scan, which XLA does not do by itself.
"""

# jax is an optional package, loaded at run time: its functions have no types here.
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.peers.contestant import Contestant, Tensors, named, package
from benchmarks.problems import Mode, Problem

Params = dict[str, Any]


@dataclass(frozen=True)
class Scan:
    """``before(x, p)`` for all steps; ``step(v_t, states, p)`` gives the new states, h first."""

    before: Callable[[Any, Params], Any]
    step: Callable[[Any, tuple[Any, ...], Params], tuple[Any, ...]]


def _scans(jax: Any) -> dict[str, Scan]:
    np_, sigmoid, tanh = jax.numpy, jax.nn.sigmoid, jax.numpy.tanh

    def split(v: Any, n: int) -> Any:
        return np_.split(v, n, axis=-1)

    def norm(v: Any, gain: Any) -> Any:
        centred = v - v.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain

    def rnn(v: Any, states: Any, p: Params) -> Any:
        return (tanh(v + states[0] @ p["W_hh"].T),)

    def gru(v: Any, states: Any, p: Params) -> Any:
        (h,) = states
        v_r, v_z, v_n = split(v, 3)
        u_r, u_z, u_n = split(h @ p["W_hh"].T + p["b_hh"], 3)
        z = sigmoid(v_z + u_z)
        return ((1 - z) * tanh(v_n + sigmoid(v_r + u_r) * u_n) + z * h,)

    def lstm(v: Any, states: Any, p: Params) -> Any:
        h, c = states
        i, f, g, o = split(v + h @ p["W_hh"].T, 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    def gru_cho(v: Any, states: Any, p: Params) -> Any:
        (h,) = states
        n = h.shape[-1]
        r, z = split(sigmoid(v[:, : 2 * n] + h @ p["U"][: 2 * n].T), 2)
        return (z * h + (1 - z) * tanh(v[:, 2 * n :] + (r * h) @ p["U"][2 * n :].T),)

    def lstm_peephole_gers(v: Any, states: Any, p: Params) -> Any:
        h, c = states
        i, f, g, o = split(v + h @ p["U"].T, 4)
        p_i, p_f, p_o = split(p["p"], 3)
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
        return sigmoid(o + p_o * c) * tanh(c), c

    def lstm_layer_norm(v: Any, states: Any, p: Params) -> Any:
        h, c = states
        i, f, g, o = split(v + norm(h @ p["U"].T, p["gain_h"]), 4)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(norm(c, p["gain_c"]) + p["shift_c"]), c

    def two_biases(x: Any, p: Params) -> Any:
        return x @ p["W_ih"].T + (p["b_ih"] + p["b_hh"])

    def one_bias(x: Any, p: Params) -> Any:
        return x @ p["W"].T + p["b"]

    return {
        "rnn": Scan(two_biases, rnn),
        "gru": Scan(lambda x, p: x @ p["W_ih"].T + p["b_ih"], gru),
        "lstm": Scan(two_biases, lstm),
        "gru_cho": Scan(one_bias, gru_cho),
        "lstm_peephole_gers": Scan(one_bias, lstm_peephole_gers),
        "lstm_layer_norm": Scan(
            lambda x, p: norm(x @ p["W"].T, p["gain_x"]) + p["b"], lstm_layer_norm
        ),
    }


def build(problem: Problem, mode: Mode) -> Contestant:
    """The scan; its first call compiles."""
    jax = package("jax")
    scan = _scans(jax)[problem.cell.name]

    def run(x: Any, params: Params, states: Any) -> Any:
        def step(carry: Any, v: Any) -> Any:
            new = scan.step(v, carry, params)
            return new, new[0]

        final, y = jax.lax.scan(step, states, scan.before(x, params))
        return y, final

    def infer(x: Any, params: Params, states: Any, d_y: Any) -> Any:
        return *run(x, params, states), ()

    def train(x: Any, params: Params, states: Any, d_y: Any) -> Any:
        y, pull, final = jax.vjp(lambda x, params: run(x, params, states), x, params, has_aux=True)
        d_x, d_params = pull(d_y)
        return y, final, (d_x, *(d_params[name] for name in problem.params))

    compiled = jax.jit(infer if mode == "inference" else train)
    arguments = jax.tree.map(
        lambda t: jax.numpy.asarray(t.numpy()),
        (problem.x, problem.params, problem.states, problem.d_y),
    )

    def tensors(outcome: Any) -> Tensors:
        found = named(problem, mode, *outcome)
        return {name: torch.from_numpy(np.array(value)) for name, value in found.items()}

    return Contestant(lambda: jax.block_until_ready(compiled(*arguments)), tensors)
