"""Strategies by the rows of `tests/cases.py`, and fixed shapes; those for everyone are in `tensorly_rnn.testing`."""

from hypothesis import strategies as st

import tensorly_rnn as tlr
from tensorly_rnn.testing import factorized_matrices

# Distinct primes and ones, orders 1 to 3.
SHAPES = (
    ((2,), (3,)),
    ((5,), (1,)),
    ((2, 3), (3, 2)),
    ((3, 1), (1, 5)),
    ((1, 2), (5, 3)),
    ((2, 3, 1), (3, 1, 2)),
    ((1, 2, 3), (5, 1, 2)),
    ((2, 1, 3), (1, 3, 2)),
    ((1, 1, 2, 3), (3, 2, 1, 1)),
)


@st.composite
def factorized(draw, case, slow=False):
    """A NumPy factorized matrix of one format with any uneven rank; for a slow backend, of the few kinds in the pool."""
    kind = tlr.get_format(case.name)
    if not slow:
        return draw(factorized_matrices(kind))
    modes, rank = draw(st.sampled_from(list(case.pool.items())))
    return draw(factorized_matrices(kind, tensorized_shape=st.just(modes), ranks=lambda _: st.just(rank)))
