"""A batch that does not fit into memory: half of it may, and if not, a person must say less."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from schemas.command import OutOfMemory
from schemas.weights import Floats

Vectors = dict[str, Floats]
"""Vectors [B, H] by pooling."""


def in_halves_if_needed(
    embed: Callable[..., Vectors],
    token_ids: Sequence[npt.NDArray[np.int32]],
    weights: Sequence[Floats],
    poolings: Sequence[str],
) -> Vectors:
    """Embed a batch, in two halves if it does not fit into memory.

    Args:
        embed: takes the other arguments; `pipelines.embedding.Teacher.vectors`.
        token_ids: of the sentences.
        weights: of their tokens.
        poolings: wanted.

    Raises:
        OutOfMemory: if a half does not fit either.
    """
    try:
        return embed(token_ids, weights, poolings)
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
    torch.cuda.empty_cache()
    middle = -(-len(token_ids) // 2)
    halves = [cut for cut in (slice(middle), slice(middle, None)) if token_ids[cut]]
    try:
        found = [embed(token_ids[cut], weights[cut], poolings) for cut in halves]
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        tokens = max(map(len, token_ids))
        if len(token_ids) == 1:
            raise OutOfMemory(
                f"one sentence of {tokens} tokens does not fit into memory: give a smaller "
                "--max-tokens, or a smaller teacher"
            ) from error
        raise OutOfMemory(
            f"{middle} sentences of {tokens} tokens do not fit into memory at once, half of what "
            f"was tried first: give a --token-budget below {middle * tokens:,}"
        ) from error
    return {name: np.concatenate([half[name] for half in found]) for name in found[0]}


def _lacks_memory(error: Exception) -> bool:
    """Whether torch or NumPy could not get memory; a CPU's allocator says so only in words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in ("allocate memory", "ALLOC_FAILED"))
