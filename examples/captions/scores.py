"""How much captions are like those that people gave: BLEU, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from sacrebleu.metrics import BLEU

from captions.vocabulary import words_of

ORDERS = (1, 2, 3, 4)


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score captions, without capitals and punctuation, against all references of their images.

    Parameters
    ----------
    captions : sequence of str
        Words with spaces between.
    references : sequence of sequence of str
        Of each image, as many as there are.

    Returns
    -------
    dict of str to float
        In per cent: ``bleu1`` to ``bleu4`` of the corpus; ``exact``, the share of captions that are one of the references word
        for word; and ``shuffled_bleu4``, what captions that pay no heed to the image get: BLEU-4 against the next image's
        references.
    """
    plain = [[" ".join(words_of(text)) for text in texts] for texts in references]
    scores = {f"bleu{order}": bleu(captions, plain, order) for order in ORDERS}
    exact = [caption in texts for caption, texts in zip(captions, plain, strict=True)]
    return scores | {
        "exact": 100 * sum(exact) / len(exact),
        "shuffled_bleu4": bleu(captions, [*plain[1:], *plain[:1]], max(ORDERS)),
    }


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], order: int) -> float:
    """Return BLEU of the corpus with n-grams up to an order, in per cent."""
    metric = BLEU(max_ngram_order=order, tokenize="none", force=True)
    # sacrebleu wants the first reference of every image, then the second; None where there is none.
    return metric.corpus_score(list(captions), [list(one) for one in zip_longest(*references)]).score
