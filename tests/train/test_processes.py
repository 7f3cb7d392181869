"""Two processes that train together: the updates of one, one set of files, and either goes on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tiny_training import ROUNDING, SETTINGS, plain_model, trainer
from unrolled.train.metrics import read

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch without gloo",
)

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests")))

RUN = '''
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
import torch
from tiny_training import SETTINGS, plain_model, trainer
from unrolled.train.observe import Moment, Observer
from unrolled.train.processes import joined, started_as

directory, steps, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
processes = started_as()

class Stop(Observer):
    """Has the second process alone asked to stop."""
    def stepped(self, moment: Moment) -> None:
        if moment.step == steps < 18 and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

with joined(processes, torch.device("cpu")):
    config = replace(SETTINGS, max_steps=18, checkpoint_every=18, batch_size=batch)
    run, model, best = trainer(directory, config, model=plain_model(), processes=processes)
    result = run.run([Stop()])
    assert result.cause == ("" if steps == 18 else "SIGTERM")
    seen = sum(p.sum().item() for p in model.parameters()), len(best)
    (directory.parent / f"rank{processes.rank}").write_text(repr(seen))
'''


def together(directory: Path, steps: int, batch: int = 4) -> list[tuple[float, int]]:
    """Trains in two processes; gives each one's sum of parameters and number of saved models."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        str(directory.parent / "run.py"), str(directory), str(steps), str(batch),
    ]  # fmt: skip
    (directory.parent / "run.py").write_text(RUN)
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [ast.literal_eval((directory.parent / f"rank{r}").read_text()) for r in range(2)]


def last_checkpoint(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(max(directory.glob("step-*.safetensors")))


@pytest.mark.parametrize("batch", [4, 5, 1])
def test_two_processes_make_the_updates_of_one(tmp_path: Path, batch: int):
    """Also where a process has a row more, or none at all."""
    config = replace(SETTINGS, max_steps=18, checkpoint_every=18, batch_size=batch)
    alone, _, _ = trainer(tmp_path / "alone", config, model=plain_model())
    alone.run()
    (first, saved), (second, none) = together(tmp_path / "together", 18, batch)
    # Both hold the same parameters; the first alone has saved models.
    assert first == second
    assert saved > 0
    assert none == 0
    for name, value in last_checkpoint(tmp_path / "alone").items():
        if not name.startswith("generator"):
            other = last_checkpoint(tmp_path / "together")[name]
            assert (value - other).abs().max() <= ROUNDING, name
    ours, theirs = (read(tmp_path / d / "metrics.jsonl") for d in ("alone", "together"))
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=ROUNDING)


def test_one_process_goes_on_where_two_stopped(tmp_path: Path):
    config = replace(SETTINGS, max_steps=18, checkpoint_every=18)
    alone, _, _ = trainer(tmp_path / "alone", config, model=plain_model())
    alone.run()
    together(tmp_path / "run", 7)
    resumed, model, _ = trainer(tmp_path / "run", config, model=plain_model())
    assert resumed.notes == (
        "the run was trained by 2 processes and goes on with one process: the batches stay the "
        "same, each is shared otherwise; random numbers such as dropout's are others from here on",
    )
    assert resumed.progress.step == 7
    resumed.run()
    expected = last_checkpoint(tmp_path / "alone")
    for name, value in model.named_parameters():
        assert (value - expected[f"model.{name}"]).abs().max() <= ROUNDING, name
