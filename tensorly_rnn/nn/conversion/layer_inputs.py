"""Inputs of the weights of a model's layers, collected in a run of the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, unpack_sequence

from tensorly_rnn.decomposition.fitting.fit_to_inputs import merged_rows
from tensorly_rnn.nn.conversion.arguments import layer_arguments, make_layer

#: Names of dense weights of a layer whose inputs are concatenated, such as those over x and over h.
Names = tuple[str, ...]
#: From the arguments of a layer to the rows, shape (batch, columns), that each weight multiplies, by the name of the weight.
InputsOf = Callable[..., dict[str, Tensor]]


def collect_inputs(model: nn.Module, calibration: Any, groups: Mapping[nn.Module, Sequence[Names]]) -> dict[Any, np.ndarray]:
    """Run a model in evaluation mode without gradients and return the inputs of the weights of its layers.

    `calibration` is as for `factorize_module`. `groups` has the weights of every layer; inputs of weights in one tuple are
    concatenated. The result is by module and names, for layers that the model called, of shape (at most 2 * columns, columns),
    with the same products ``X^T X`` as all inputs.
    """
    collected: dict[Any, np.ndarray] = {}

    def collect(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs_of = next((found for kind, found in INPUTS_OF.items() if isinstance(module, kind)), _linear_inputs)
        inputs = inputs_of(module, *args, **kwargs)
        for names in groups[module]:
            rows = torch.cat([inputs[name] for name in names], dim=1).double().cpu().numpy()
            if len(rows):
                collected[module, names] = merged_rows(collected.get((module, names)), rows)

    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(_evaluating(model))
        for module in groups:
            handle = module.register_forward_pre_hook(collect, with_kwargs=True)
            stack.callback(handle.remove)
        _call(model, calibration)
    return collected


def _call(model: nn.Module, calibration: Any) -> None:
    if callable(calibration) and not isinstance(calibration, Tensor):
        calibration(model)
        return
    by_name = calibration if isinstance(calibration, dict) else {}
    by_position = (calibration,) if isinstance(calibration, Tensor) else () if by_name else tuple(calibration)
    try:
        model(*by_position, **by_name)
    except Exception as reason:
        raise ValueError(f"calibration must be inputs of the model; got {type(reason).__name__}: {reason}.") from reason


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _linear_inputs(linear: nn.Module, input: Tensor) -> dict[str, Tensor]:
    return {"weight": input.reshape(-1, input.shape[-1])}


def _cell_inputs(cell: nn.RNNCellBase, input: Tensor, hx: Any = None) -> dict[str, Tensor]:
    h = hx[0] if isinstance(hx, (tuple, list)) else hx
    rows = input.reshape(-1, cell.input_size)
    before = rows.new_zeros(len(rows), cell.hidden_size) if h is None else h.reshape(-1, cell.hidden_size)
    return {"weight_ih": rows, "weight_hh": before}


def _recurrent_inputs(module: nn.RNNBase, input: Any, hx: Any = None) -> dict[str, Tensor]:
    """Run each layer and direction: ``W_ih`` multiplies the input of the steps, ``W_hh`` the previous h."""
    collected: dict[str, list[Tensor]] = {}
    for steps, state in _sequences(module, input, hx):
        for layer in range(module.num_layers):
            outputs = []
            for direction in range(2 if module.bidirectional else 1):
                suffix = f"_l{layer}" + "_reverse" * direction
                number = layer * (2 if module.bidirectional else 1) + direction
                own = tuple(one[number : number + 1] for one in state)
                ordered = steps.flip(0) if direction else steps
                output = _one_layer(module, suffix, ordered.shape[-1])(ordered, _as_hx(own))[0]
                before = own[0] if own else output.new_zeros(1, *output.shape[1:])
                collected.setdefault(f"weight_ih{suffix}", []).append(ordered.flatten(0, 1))
                collected.setdefault(f"weight_hh{suffix}", []).append(torch.cat([before, output[:-1]]).flatten(0, 1))
                outputs.append(output.flip(0) if direction else output)
            steps = torch.cat(outputs, dim=-1)
    return {name: torch.cat(rows) for name, rows in collected.items()}


def _sequences(module: nn.RNNBase, input: Any, hx: Any) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Return batches of sequences of equal length, shape (L, N, input_size), with their initial states."""
    state = () if hx is None else tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
    if isinstance(input, PackedSequence):
        steps = enumerate(unpack_sequence(input))
        return [(one.unsqueeze(1), tuple(part[:, k : k + 1] for part in state)) for k, one in steps]
    if input.dim() == 2:
        return [(input.unsqueeze(1), tuple(one.unsqueeze(1) for one in state))]
    return [(input.transpose(0, 1) if module.batch_first else input, state)]


def _as_hx(state: tuple[Tensor, ...]) -> Any:
    return None if not state else state[0] if len(state) == 1 else state


def _one_layer(module: nn.RNNBase, suffix: str, width: int) -> nn.Module:
    """Return one layer and direction of a module of torch with the same parameters."""
    one = {"input_size": width, "num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
    layer = make_layer(type(module), layer_arguments(module) | one).eval()
    for name, _ in list(layer.named_parameters()):
        setattr(layer, name, getattr(module, name.removesuffix("_l0") + suffix))
    return layer


#: By base class; other layers have one weight.
INPUTS_OF: dict[type[nn.Module], InputsOf] = {nn.RNNBase: _recurrent_inputs, nn.RNNCellBase: _cell_inputs}
