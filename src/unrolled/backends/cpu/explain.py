"""How the CPU backend runs a plan, in words: the products around the loops, and the threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from unrolled.backends.cpu.place import place
from unrolled.backends.cpu.sharing import MOST_ROWS, share, work_of
from unrolled.backends.cpu.threads import n_threads
from unrolled.ir import Equation
from unrolled.lower import Plan
from unrolled.passes.stages import Schedule

LONG = 1000
"""Steps of a sequence beside which the start of threads takes no time."""

RULE = """\
    by the loops' own packed microkernels, whatever the sizes; python -m benchmarks.products times
    MKL and oneDNN beside them"""


LINEAR = """\
  linear in the state: the loops are one pass over its coefficients, which a copy in memory bounds;
    a scan over time would pass over them several times"""


def explain(plan: Plan) -> str:
    """A few lines on the loops, the products outside them, and how threads share the work."""
    directions = [("forward", plan.forward)]
    if plan.reverse is not None:
        directions.append(("reverse", plan.reverse))
    around = [
        f"    {when} the {name} loop: {replace(equation, location=None)}"
        for name, schedule in directions
        for when, equation in _products_around(schedule)
    ]
    lines = ["  loops: C, compiled for this processor; explain(code=True) prints it"]
    if plan.linear is not None:
        lines.append(LINEAR)
    if around:
        lines += ["  products around them, each over all T*B rows at once:", *around, RULE]
    sharing = {name: _sharing(schedule) for name, schedule in directions}
    threads = n_threads()
    head = f"  {threads} thread{'s' * (threads > 1)}"
    if len(set(sharing.values())) == 1:
        lines.append(f"{head}: {sharing['forward']}")
    else:
        lines += [f"{head}, {name} loop: {text}" for name, text in sharing.items()]
    return "\n".join(["as 'cpu' runs it:", *lines])


def _products_around(schedule: Schedule) -> Iterator[tuple[str, Equation]]:
    """The equations outside the loop that are products over all steps, and where they stand."""
    placement = place(schedule, ())
    for when, equations in (("before", placement.before), ("after", placement.after)):
        for equation in equations:
            over_time = equation.op == "matmul" and equation.inputs[1].per_step
            if over_time or equation.op == "total_outer":
                yield when, equation


def _sharing(schedule: Schedule) -> str:
    """The cost model's choices for a long sequence of any number of examples, by asking it."""
    loop = place(schedule, ()).loop
    work = work_of(loop)
    threads = n_threads()
    split = [b for b in range(1, MOST_ROWS + 1) if share(LONG, b, work, threads).split]
    own = f"takes examples of its own through all of time, at most {MOST_ROWS} at once"
    if threads == 1:
        return f"it {own}"
    if not split:
        return f"each {own}, without barriers"
    return (
        f"at B={_ranges(split)} they share the columns of every product, with barriers\n"
        "    around it: there that takes less time; at any other B each\n"
        f"    {own}, without barriers"
    )


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text: 1 to 3, 5."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    pairs = zip(starts, ends, strict=True)
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in pairs)
