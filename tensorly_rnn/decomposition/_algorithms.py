"""The algorithms of every format."""

from typing import NamedTuple

from tensorly_rnn.decomposition._block_term import block_term, one_block
from tensorly_rnn.decomposition._hierarchical_tucker import hierarchical_svd
from tensorly_rnn.decomposition._problem import Solve
from tensorly_rnn.decomposition._tensor_ring import chain, tensor_ring
from tensorly_rnn.decomposition._tensor_train import tensor_train_svd
from tensorly_rnn.decomposition.fitting.alternating_least_squares import alternating_least_squares


class Algorithm(NamedTuple):
    """The algorithm of a format.

    Attributes
    ----------
    solve : callable
        Decomposes a problem.
    direct : callable, optional
        Truncates once instead of iterating, within an error; its factors form a tree. Without it a format takes no error.
    methods : tuple of str
        Methods besides ``'auto'``.
    """

    solve: Solve
    direct: Solve | None = None
    methods: tuple[str, ...] = ("als",)


ALGORITHMS = {
    "bt": Algorithm(block_term, one_block),
    "ht": Algorithm(hierarchical_svd, hierarchical_svd, ("leaves_to_root", "root_to_leaves")),
    "tr": Algorithm(tensor_ring, chain),
    "tt": Algorithm(tensor_train_svd, tensor_train_svd, ()),
}


def algorithm_of(name: str) -> Algorithm:
    """Return the algorithm of the format of that name: alternating least squares where it has none of its own."""
    return ALGORITHMS.get(name, Algorithm(alternating_least_squares))
