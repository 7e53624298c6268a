"""The shape of a student, and the shapes that have a name. No torch.

Array letters: E embedding size, S states of a token, H the teacher's width.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

KINDS = ("bilstm", "bilstm-22m", "bilstm-small", "bilstm-tiny", "static", "mini-transformer")
POOLINGS = ("idf", "mean", "learned")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """The shape of a student."""

    kind: str
    """One of `KINDS`; static is one vector per token, no context."""
    vocabulary: int
    """Token ids, the teacher's tokenizer."""
    width: int
    """H, the teacher's, unless the vectors were reduced."""
    embedding: int = 128
    """E, numbers of a token's vector; static: its states, 0 for as many as H."""
    hidden: int = 0
    """Of the LSTM each way, 0 for half of H; of the transformer, its states."""
    layers: int = 0
    """Of the transformer."""
    share_layers: bool = False
    """Whether the transformer's layers have the same weights (ALBERT)."""
    projected: bool = False
    """Whether pooled states are projected even where they are as wide as the vectors."""
    pooling: str = "idf"
    """Weights of the tokens: idf (given), mean (equal), learned (by a head on the states)."""
    kept: int = 0
    """Token ids with a vector of their own, the others share one; 0: all have one."""

    def __post_init__(self) -> None:
        """Reject shapes that cannot be built."""
        if self.kind not in KINDS:
            raise ValueError(f"student must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.pooling not in POOLINGS:
            raise ValueError(
                f"student_pooling must be one of {', '.join(POOLINGS)}, got {self.pooling!r}"
            )
        if self.kind.startswith("bilstm") and self.width % 2 and not self.hidden:
            raise ValueError(f"the bilstm halves the width, which must be even, got {self.width}")
        if self.kind == "mini-transformer" and min(self.layers, self.hidden) < 1:
            got = self.layers, self.hidden
            raise ValueError(f"layers and hidden must be at least 1, got {got}")
        if self.kind != "mini-transformer" and (self.layers or self.share_layers):
            raise ValueError(f"only mini-transformer has layers, not {self.kind}")
        if self.kind == "static" and self.hidden:
            raise ValueError(f"static has no hidden units, got hidden {self.hidden}")
        if not 0 <= self.kept < self.vocabulary:
            raise ValueError(f"kept must be below the vocabulary, {self.vocabulary}: {self.kept}")

    @property
    def states(self) -> int:
        """S."""
        if self.kind == "static":
            return self.embedding or self.width
        return self.hidden if self.layers else 2 * self.hidden or self.width

    @property
    def rows(self) -> int:
        """Of the embedding: with `kept`, row 0 is that of all other tokens."""
        return self.kept + 1 if self.kept else self.vocabulary


def preset(
    kind: str, *, vocabulary: int, width: int, teacher: int = 0, **chosen: int | str | None
) -> StudentConfig:
    """The shape of a named student.

    Args:
        kind: one of `KINDS`.
        vocabulary: of the teacher's tokenizer.
        width: of the student's vectors.
        teacher: H, by which its states are measured, where its vectors are narrower.
        chosen: fields of `StudentConfig` that override the preset's; None leaves it.

    Raises:
        ValueError: for an unknown kind or a shape that cannot be built.

    >>> preset("bilstm-small", vocabulary=21_128, width=768).states
    384
    """
    states = teacher or width
    half = 0 if states == width else states // 2
    sizes: Mapping[str, dict[str, int]] = {
        # LTD-BERT's, projected; with its embedding of 128 the int8 file would go over 4.5 MB.
        "bilstm": {"embedding": 96, "hidden": half, "projected": True},
        "bilstm-22m": {"embedding": 180, "hidden": half},  # for 21,128 tokens
        "bilstm-small": {"embedding": 128, "hidden": max(1, states // 4)},
        "bilstm-tiny": {"embedding": 64, "hidden": max(1, states // 8)},
        "static": {"embedding": 0 if states == width else states},
        "mini-transformer": {"embedding": 128, "hidden": 256, "layers": 2},
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    shape: dict[str, Any] = {**sizes.get(kind, {}), **given}
    return StudentConfig(kind=kind, vocabulary=vocabulary, width=width, **shape)
