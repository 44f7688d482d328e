"""DistributedDataParallel and fully_shard on two processes of gloo, launched by torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TESTS = ("test_training", "test_sharded_layers_outside_forward", "test_starts")


@pytest.mark.parametrize("formats", [("tt",), pytest.param(("tr", "bt", "ht"), marks=pytest.mark.slow)], ids="-".join)
def test_two_processes_end_where_one_does(formats):
    launch = "-m torch.distributed.run --standalone --nproc-per-node 2 -m tests.nn.distributed_training"
    command = [*launch.split(), *formats]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # One launch for all: starting the processes takes longer than what they do.
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} {test}" for name in formats for test in TESTS]
