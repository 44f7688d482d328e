"""A network of one's own for a program's front end, named on the command line."""

from __future__ import annotations

import importlib

from torch import nn


def make_own_network(text: str) -> nn.Module:
    """Make the network that ``module:factory`` names: what the factory of an importable module returns.

    Raises
    ------
    ValueError
        If there is no such factory, or it raises, or makes something else.
    """
    module, _, factory = text.partition(":")
    try:
        made = getattr(importlib.import_module(module), factory)()
    except Exception as error:  # whatever code of somebody else's raises
        raise ValueError(f"--front-end must be module:factory; {text} fails with {error!r}") from None
    if not isinstance(made, nn.Module):
        raise ValueError(f"--front-end must be module:factory of a torch module; {text} makes a {type(made).__name__}")
    return made.eval()
