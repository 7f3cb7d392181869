"""What the issue asks for beside the grid of peers, each measured in its own way.

``python -m benchmarks.figures`` measures and writes ``benchmarks/results/figures.json``, which
``python -m benchmarks.page`` shows.

loop        the recurrent loop alone, as a part of the multiply-add peak (timed_calls, loop_child)
parts       where a call's time goes: loop, products, the rest (parts_child)
cells       one of our cells against another
steps       a step's time over the number of steps
first_call  the first call of a process (first_call_child)
overhead    a call of one step
lengths     sequences of several lengths, and resets (lengths_calls, lengths_page)
stream      a step of a stream (stream_child)
learning    training runs of whole models (learning_sittings)
fresh       running a module in a process of its own
line_fit    telling a call's overhead from its steps
record      the JSON
catalogue   the table of all these
"""
