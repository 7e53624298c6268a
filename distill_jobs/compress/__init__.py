"""Job: make a finished student smaller: ``python -m distill_jobs compress VERB``.

Every verb reads an export folder and writes another one, which serves, is evaluated, and can be
compressed again. Nothing is trained.
"""

from collections.abc import Sequence

from schemas.command import choose

VERBS = {
    "vocabulary": "keep the vectors of frequent tokens; the others share one",
    "rank": "give tokens shorter vectors, by a truncated SVD",
    "units": "keep the units of the LSTM that matter most",
    "dimensions": "shorten the sentence vectors, by PCA or a random projection",
    "bits": "store the weights in 16, 8, 4 or 2 bits, by groups",
    "static-int8": "let ONNX Runtime quantise with ranges measured on sentences",
    "sparsity": "set weights to zero, which is measured, not served",
}


def main(argv: Sequence[str]) -> None:
    """Hand the rest of the command line to the named verb."""
    choose(VERBS, "distill_jobs.compress.", argv, named={"static-int8": "static_int8"})
