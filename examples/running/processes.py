"""Train in the processes that torchrun starts: one program in all of them, which speaks with one voice."""

from __future__ import annotations

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
    """Join the processes that torchrun started for as long as the block lasts, then end; without torchrun, do nothing."""
    if not distributed.is_torchelastic_launched():
        yield
        return
    end_with_parent()
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    code = 1
    try:
        yield
        distributed.barrier()  # nobody leaves while another still waits for an answer
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # Not by return: threads of the process group now and then abort a process that takes itself apart.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_with_parent() -> None:
    """End this process when its parent is killed, so that it does not get in the way of the program's next start."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def count() -> int:
    """Return the number of joined processes, 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0 up."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def from_first(function: Callable[[], Result]) -> Result:
    """Call a function in the first process alone; all processes return what it returned, or leave as it left.

    The others wait for it, so that a message of the first process is out before any of them ends.
    """
    if count() == 1:
        return function()
    outcome: list[Any] = [None, None]
    failure = None
    if rank() == 0:
        try:
            outcome = [function(), None]
        except BaseException as error:
            failure = error
            outcome = [None, SystemExit(error.code if isinstance(error, SystemExit) else 1)]
    distributed.broadcast_object_list(outcome, device=torch.device("cpu"))
    result, exit_of_all = outcome
    if exit_of_all is not None:
        raise failure or exit_of_all
    return result


def check_device(device: torch.device) -> None:
    """Raise a ValueError unless every process of this machine has a device of its own, or all compute on its CPU."""
    if count() == 1 or device.type == "cpu":
        return
    if device.type != "cuda" or device.index is not None:
        raise ValueError(f"the device of several processes must be cpu or cuda, got {device}")
    wanted, found = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if wanted > found:
        raise ValueError(f"every process needs a GPU of its own; {wanted} processes, {found} found")


def own_device(device: torch.device) -> torch.device:
    """Return the device that this process computes on where all were told to use ``device``."""
    if count() == 1 or device.type == "cpu":
        return device
    own = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(own)
    return own


def averaging_gradients(model: nn.Module) -> nn.Module:
    """Return a module whose gradients are means over the processes; alone, the model itself."""
    return nn.parallel.DistributedDataParallel(model) if count() > 1 else model


def own_share(batch: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return this process's part of a batch, and what to multiply its mean loss by.

    The mean over the processes of the losses so weighted is the mean over the batch, however unevenly it is divided.
    """
    share = batch.tensor_split(count())[rank()]
    if not len(share):  # the others wait for the gradients of every process: one sample that does not count
        return batch[:1], 0.0
    return share, count() * len(share) / len(batch)


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """Return the mean of the processes' values."""
    if count() > 1:
        distributed.all_reduce(value)
    return value / count()
