"""Dense matrices from factors by explicit loops over every index, sharing no code with the library."""

import itertools
import math

import numpy as np


def _entries(out_modes, in_modes, entry):
    """Matrix whose entry at row (j1..jd), column (i1..id), both row-major, is ``entry(j, i)``."""
    matrix = np.zeros((math.prod(out_modes), math.prod(in_modes)))
    for row, j in enumerate(itertools.product(*(range(m) for m in out_modes))):
        for column, i in enumerate(itertools.product(*(range(n) for n in in_modes))):
            matrix[row, column] = entry(j, i)
    return matrix


def chain(factors):
    """Tensor train or ring: the trace of the product of one matrix a core."""
    cores = [np.asarray(core) for core in factors]
    out_modes, in_modes = zip(*(core.shape[1:3] for core in cores))

    def entry(j, i):
        total = 0.0
        for start in range(cores[0].shape[0]):
            vector = [1.0 if r == start else 0.0 for r in range(cores[0].shape[0])]
            for k, core in enumerate(cores):
                vector = [sum(vector[a] * core[a, j[k], i[k], b] for a in range(core.shape[0])) for b in range(core.shape[3])]
            total += vector[start]
        return total

    return _entries(out_modes, in_modes, entry)


def block_term(factors):
    """Sum of Tucker blocks."""
    core, *others = [np.asarray(factor) for factor in factors]
    out_modes, in_modes = zip(*(factor.shape[1:3] for factor in others))

    def entry(j, i):
        total = 0.0
        for n in range(core.shape[0]):
            for r in itertools.product(*(range(size) for size in core.shape[1:])):
                term = core[(n, *r)]
                for k, factor in enumerate(others):
                    term *= factor[n, j[k], i[k], r[k]]
                total += term
        return total

    return _entries(out_modes, in_modes, entry)


def hierarchical_tucker(factors):
    """Stack of matrices from a balanced binary tree of transfer tensors, breadth first."""
    arrays = [np.asarray(factor) for factor in factors]
    order = (len(arrays) + 1) // 2
    # Breadth-first queue of the modes that each node spans; children take the next two numbers in turn.
    spans, children = [list(range(order))], {}
    for number, span in enumerate(spans):
        if len(span) > 1:
            children[number] = (len(spans), len(spans) + 1)
            spans += [span[: len(span) // 2], span[len(span) // 2 :]]

    def frame(number, r, j, i):
        array = arrays[number]
        if number not in children:
            mode = spans[number][0]
            return array[r, j[mode], i[mode]]
        left, right = children[number]
        return sum(
            array[r, a, b] * frame(left, a, j, i) * frame(right, b, j, i)
            for a in range(array.shape[1])
            for b in range(array.shape[2])
        )

    leaves = {spans[number][0]: arrays[number] for number in range(len(arrays)) if number not in children}
    out_modes, in_modes = zip(*(leaves[mode].shape[1:] for mode in range(order)))
    stack = [_entries(out_modes, in_modes, lambda j, i, g=g: frame(0, g, j, i)) for g in range(arrays[0].shape[0])]
    return np.concatenate(stack)


def differences(loss, arrays, step=0.5):
    """Central differences of a loss at most quadratic in every entry: exact but for rounding, so the step is large."""
    of_arrays = []
    for number, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for position in np.ndindex(array.shape):
            sides = []
            for change in (step, -step):
                moved = [np.array(one) for one in arrays]
                moved[number][position] += change
                sides.append(loss(moved))
            gradient[position] = (sides[0] - sides[1]) / (2 * step)
        of_arrays.append(gradient)
    return of_arrays


def unfolded(tensor, modes):
    """Matrix whose rows go through the given modes and whose columns go through all others."""
    rest = [mode for mode in range(tensor.ndim) if mode not in modes]
    return tensor.transpose(*modes, *rest).reshape(math.prod(tensor.shape[mode] for mode in modes), -1)


def values_of_cut(tensor, modes):
    """Singular values of the given modes against all others."""
    return np.linalg.svd(unfolded(tensor, modes), compute_uv=False)
