"""Gradients of the factors as the papers write them, in loops and einsum over dense arrays, sharing no code with the library.

All take ``d_weight = dL/dW``, shape (rows, columns): for ``y = x W^T`` that is ``sum_b dL/dy[b] x[b]``, the product of X and
dL/dY in the papers' formulas. `docs/gradients.md` derives them.
"""

import math

import numpy as np


def paired(d_weight, out_modes, in_modes, modes=None):
    """Axes (stack, j_1 i_1, ..., j_d i_d) of a matrix of rows (stack, j_1..j_d), columns (i_1..i_d); modes in that order."""
    order = len(out_modes)
    modes = range(order) if modes is None else modes
    tensor = d_weight.reshape(-1, *out_modes, *in_modes)
    tensor = tensor.transpose(0, *(axis for k in modes for axis in (1 + k, 1 + order + k)))
    return tensor.reshape(-1, *(out_modes[k] * in_modes[k] for k in modes))


def block_term_by_entries(factors, d_weight):
    """Block term, eq. 13 and 14: every entry by its own sum, the product without the factor itself."""
    core, *others = factors
    out_modes, in_modes = zip(*(factor.shape[1:3] for factor in others))
    of_core, of_others = np.zeros(core.shape), [np.zeros(factor.shape) for factor in others]
    d_weight = d_weight.reshape(*out_modes, *in_modes)
    for n, *r in np.ndindex(core.shape):
        for j in np.ndindex(*out_modes):
            for i in np.ndindex(*in_modes):
                entries = [factor[n, j[k], i[k], r[k]] for k, factor in enumerate(others)]
                of_core[(n, *r)] += math.prod(entries) * d_weight[j + i]
                for k, of_factor in enumerate(of_others):
                    without = math.prod(entry for other, entry in enumerate(entries) if other != k)
                    of_factor[n, j[k], i[k], r[k]] += core[(n, *r)] * without * d_weight[j + i]
    return [of_core, *of_others]


def block_term(factors, d_weight):
    """Block term, eq. 17 and 18: one mode product after the other."""
    core, *others = factors
    out_modes, in_modes = zip(*(factor.shape[1:3] for factor in others))
    whole = paired(d_weight, out_modes, in_modes)[0]
    flat = [factor.reshape(factor.shape[0], -1, factor.shape[-1]) for factor in others]

    def products(n, skipped):
        """Every mode but the skipped one of dL/dY X multiplied with its factor: the axis p_k becomes r_k."""
        tensor = whole
        for k, factor in enumerate(flat):
            if k != skipped:
                tensor = np.moveaxis(np.tensordot(tensor, factor[n], axes=(k, 0)), -1, k)
        return tensor

    of_others = []
    for k, factor in enumerate(others):
        axes = [axis for axis in range(len(others)) if axis != k]
        blocks = [np.tensordot(products(n, k), core[n], axes=(axes, axes)) for n in range(len(core))]
        of_others.append(np.stack(blocks).reshape(factor.shape))
    return [np.stack([products(n, None) for n in range(len(core))]), *of_others]


def hierarchical_tucker(factors, d_weight, tree=None):
    """Hierarchical Tucker, eq. 9 to 11: frames up the tree, environments down, on the balanced tree or nested pairs."""

    def balanced(modes):
        half = len(modes) // 2
        return modes[0] if len(modes) == 1 else (balanced(modes[:half]), balanced(modes[half:]))

    def leaves(node):
        return [node] if isinstance(node, int) else leaves(node[0]) + leaves(node[1])

    # Breadth first: node number -> its subtree and its children's numbers.
    subtrees, children = [balanced(list(range((len(factors) + 1) // 2))) if tree is None else tree], {}
    for number, node in enumerate(subtrees):
        if not isinstance(node, int):
            children[number] = (len(subtrees), len(subtrees) + 1)
            subtrees += node

    # Frame of a node: shape (r, product of j_k i_k over its leaves from left to right).
    frames = {}
    for number in reversed(range(len(factors))):
        if number in children:
            left, right = (frames[child] for child in children[number])
            frames[number] = np.einsum("rab,ap,bq->rpq", factors[number], left, right)
        frames[number] = frames.get(number, factors[number]).reshape(len(factors[number]), -1)

    sizes = {node: factors[number].shape[1:] for number, node in enumerate(subtrees) if isinstance(node, int)}
    out_modes, in_modes = zip(*(sizes[mode] for mode in range(len(sizes))))
    environments = {0: paired(d_weight, out_modes, in_modes, leaves(subtrees[0])).reshape(len(factors[0]), -1)}
    gradients = []
    for number, factor in enumerate(factors):
        if number not in children:
            gradients.append(environments[number].reshape(factor.shape))
            continue
        left, right = children[number]
        parent = environments[number].reshape(len(factor), frames[left].shape[1], frames[right].shape[1])
        environments[left] = np.einsum("rab,bq,rpq->ap", factor, frames[right], parent)
        environments[right] = np.einsum("rab,ap,rpq->bq", factor, frames[left], parent)
        gradients.append(np.einsum("rpq,ap,bq->rab", parent, frames[left], frames[right]))
    return gradients


def chain(factors, d_weight):
    """Tensor train or ring: a core meets the product of the cores on its left and of those on its right."""
    out_modes, in_modes = zip(*(core.shape[1:3] for core in factors))
    whole = paired(d_weight, out_modes, in_modes)[0]
    ends = factors[0].shape[0]

    def product(cores):
        """The cores of a stretch multiplied along their bonds: shape (first rank, product of j_k i_k, last rank)."""
        together = None
        for core in cores:
            core = core.reshape(core.shape[0], -1, core.shape[-1])
            if together is not None:
                core = np.einsum("apb,bqc->apqc", together, core).reshape(together.shape[0], -1, core.shape[-1])
            together = core
        return np.eye(ends).reshape(ends, 1, ends) if together is None else together

    gradients = []
    for k, core in enumerate(factors):
        left, right = product(factors[:k]), product(factors[k + 1 :])
        parts = whole.reshape(left.shape[1], whole.shape[k], right.shape[1])
        gradients.append(np.einsum("epa,bqe,pxq->axb", left, right, parts).reshape(core.shape))
    return gradients


#: Format -> its formulas.
FORMULAS = {"tt": (chain,), "tr": (chain,), "bt": (block_term, block_term_by_entries), "ht": (hierarchical_tucker,)}
