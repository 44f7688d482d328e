"""Hypothesis strategies: modes, ranks and factors, small, uneven and without symmetry."""

from hypothesis import strategies as st

import tensorly_rnn as tlr

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
    shape = draw(st.sampled_from(tuple(case.pool) if slow else SHAPES))
    rank = case.pool[shape] if slow else draw(case.ranks(len(shape[0])))
    return tlr.get_format(case.name).random(shape, rank, random_state=draw(st.integers(0, 2**32 - 1)))
