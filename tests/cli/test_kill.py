"""A real process, really killed, at random moments: what it ends with is as if it never was."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from command_line import TEXT, tree

# Dropout, so that the random numbers must go on where they stopped.
OPTIONS = [
    *["--hidden-size", "24", "--embedding-size", "8", "--num-layers", "2", "--dropout", "0.3"],
    *["--batch-size", "4", "--window", "8", "--epochs", "2", "--samples", "3"],
    *["--sample-length", "20", "--evaluate-every", "20", "--log-every", "3", "--device", "cpu"],
]
MOST_KILLS = 5


def process(corpus: Path, output: Path, *more: str) -> "subprocess.Popen[bytes]":
    words = ["train", "lm", str(corpus), "--output", str(output), *OPTIONS, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "unrolled", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def results(output: Path) -> dict[str, bytes]:
    """What must not depend on when a run was stopped: all but the clock and the one before."""
    files = tree(output)
    newest = max(name for name in files if name.endswith(".safetensors") and "step-" in name)
    return {
        name: content
        for name, content in files.items()
        if name == newest or not ("step-" in name or name.endswith("timing.jsonl"))
    }


def wait_for(running: "subprocess.Popen[bytes]", words: bytes) -> None:
    assert running.stdout is not None
    for line in running.stdout:
        if words in line:
            return


def reached(output: Path) -> int:
    """The step of the newest checkpoint."""
    names = [path.stem for path in (output / "training").glob("step-*.safetensors")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def wait_for_step(running: "subprocess.Popen[bytes]", output: Path, step: int) -> None:
    """Until a checkpoint of that step or a later one is there, or the run has ended."""
    while reached(output) < step and running.poll() is None:
        time.sleep(0.001)


def test_killed_at_random_moments_and_resumed_is_as_never_killed(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT)
    # Often, so that kills meet files that are being written, and steps that must be made again.
    often = ["--checkpoint-every", "3"]
    begun = time.monotonic()
    with process(corpus, tmp_path / "whole", *often) as whole:
        wait_for(whole, b"training: ")
        starts = time.monotonic() - begun
        said, _ = whole.communicate()
    assert whole.returncode == 0, said
    expected = results(tmp_path / "whole")
    assert {"model.safetensors", "training/metrics.jsonl"} < expected.keys()

    draw = random.Random(3)
    output = tmp_path / "killed"
    places: list[int] = []
    while True:
        with process(corpus, output, *often, "--resume") as running:
            if not places:
                time.sleep(draw.uniform(0.2, 0.9) * starts)
                running.kill()
            elif len(places) < MOST_KILLS:
                wait_for_step(running, output, places[-1] + draw.randint(3, 40))
                time.sleep(draw.uniform(0, 0.02))
                running.kill()
            said, _ = running.communicate()
        if running.returncode != -signal.SIGKILL:
            break
        places.append(reached(output))
    assert running.returncode == 0, said
    assert results(output) == expected
    assert len(set(places)) >= 3, places


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT)
    with process(corpus, tmp_path / "whole") as whole:
        whole.communicate()
    output = tmp_path / "a run"
    with process(corpus, output) as running:
        wait_for(running, b"a sample after 0 of")
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        assert running.stdout is not None
        said = running.stdout.read().decode()
    last = said.splitlines()[-1]
    assert running.returncode == 130, said
    step = next((output / "training").glob("step-*.json")).stem.removeprefix("step-")
    steps = 2 * 97
    assert last == (
        f"stopped by Ctrl-C at step {int(step)} of {steps}; all is saved. Go on with: unrolled "
        f"train lm --output '{output}' --resume"
    )
    command = [sys.executable, "-m", "unrolled", "train", "lm", "--output", output, "--resume"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"going on from step {int(step)}\n" in done.stdout
    assert results(output) == results(tmp_path / "whole")
