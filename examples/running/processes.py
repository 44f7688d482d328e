"""Train in the processes that torchrun starts; without torchrun, in one."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import distributed, nn

Result = TypeVar("Result")


@contextmanager
def joined_processes() -> Iterator[None]:
    """Join torchrun's processes until the end of the block, then exit; without torchrun, do nothing."""
    if not distributed.is_torchelastic_launched():
        yield
        return
    end_with_parent()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    code = 1
    try:
        yield
        distributed.barrier()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # Threads of the process group sometimes abort a process that exits by returning.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_with_parent() -> None:
    """End this process when its parent is killed, so that it does not write checkpoints beside the program's next start.

    A process of a pool may be told so after its parent has gone.
    """
    starter, number = multiprocessing.parent_process(), os.getppid()

    def watch() -> None:
        if starter:
            starter.join()
        while not starter and os.getppid() == number:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def count() -> int:
    """Return the number of processes, 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0 up."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def from_first(function: Callable[[], Result]) -> Result:
    """Return, in all processes, what the function returns in the first; if it exits there, exit in all."""
    outcome: list[Any] = [None, 1]
    try:
        if rank() == 0:
            outcome = [function(), None]
    except BaseException as error:
        outcome[1] = getattr(error, "code", 1)
        raise
    finally:
        if count() > 1:
            distributed.broadcast_object_list(outcome, device=torch.device("cpu"))
    if outcome[1] is not None:
        raise SystemExit(outcome[1])
    return outcome[0]


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: under torchrun, a GPU of its own."""
    if count() == 1 or device.type == "cpu":
        return device
    own = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def averaging_gradients(model: nn.Module) -> nn.Module:
    """Return a module whose gradients are means over the processes; in one process, the model."""
    return nn.parallel.DistributedDataParallel(model) if count() > 1 else model


def own_share(batch: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return this process's part of a batch, and a weight of its mean loss: the mean of those is the batch's mean loss."""
    share = batch.tensor_split(count())[rank()]
    if not len(share):  # gradients are averaged over all processes: one sample of weight 0
        return batch[:1], 0.0
    return share, count() * len(share) / len(batch)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of the processes' values."""
    if count() > 1:
        distributed.all_reduce(value)
    return value / count()
