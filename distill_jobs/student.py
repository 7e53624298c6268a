"""The students: token ids and weights in, sentence vectors in the teacher's space out. Torch only.

Array letters: B sentences, T tokens, E embedding size, H the teacher's width.
"""

import dataclasses

import torch
from torch import nn

from schemas.weights import weighted_pool

KINDS = ("bilstm", "static")

# torch's own start, 1, drowns the targets, which are scaled to length 1: after 4 epochs on the
# sample the bilstm misses 0.475 of the variance with it, 0.214 with this; the static 0.77 and 0.11.
_EMBEDDING_STD = 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """The shape of a student."""

    kind: str
    """bilstm (LTD-BERT's), or static: one vector per token, no context."""
    vocabulary: int
    """Token ids, the teacher's tokenizer."""
    width: int
    """H, the teacher's."""
    embedding: int = 128
    """E of the bilstm; static has E = H."""

    def __post_init__(self) -> None:
        """Reject shapes that cannot be built."""
        if self.kind not in KINDS:
            raise ValueError(f"student must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.width % 2:
            raise ValueError(f"the bilstm halves the width, which must be even, got {self.width}")


class BiLstm(nn.Module):
    """Two one-way LSTMs over the token embeddings, H/2 each: LTD-BERT's student.

    The backward one reads each sentence reversed within its own length, so padding never reaches
    a state. That is exact without packing, and 2.5 times as fast (4.4 with bfloat16).
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.embedding = _embedding(config.vocabulary, config.embedding)
        self.forwards = nn.LSTM(config.embedding, config.width // 2, batch_first=True)
        self.backwards = nn.LSTM(config.embedding, config.width // 2, batch_first=True)

    def forward(self, ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """States [B, T, H]; those at and beyond a sentence's length mean nothing."""
        embedded_BTE = self.embedding(ids_BT)
        mirror_BT = _mirror(lengths_B, ids_BT.shape[1])
        ahead_BTh, _ = self.forwards(embedded_BTE)
        back_BTh, _ = self.backwards(_take(embedded_BTE, mirror_BT))
        return torch.cat([ahead_BTh, _take(back_BTh, mirror_BT)], dim=-1)


class Static(nn.Module):
    """One vector per token whatever stands beside it: what the seed says must be much worse."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.embedding = _embedding(config.vocabulary, config.width)

    def forward(self, ids_BT: torch.Tensor, lengths_B: torch.Tensor) -> torch.Tensor:
        """States [B, T, H]."""
        states_BTH: torch.Tensor = self.embedding(ids_BT)
        return states_BTH


class Student(nn.Module):
    """An encoder of tokens, pooled under the teacher's own IDF weights.

    It learns the teacher's vectors centred and scaled: ``offset + scale * output`` is in the
    teacher's space. Both numbers come from the store and are saved with the weights.
    """

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BiLstm(config) if config.kind == "bilstm" else Static(config)
        self.register_buffer("offset", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
        """Centred and scaled vectors [B, H], in float32.

        Args:
            ids_BT: tokens of the sentence, special tokens left out.
            weights_BT: positive for tokens, 0 for padding, which follows the tokens.
        """
        lengths_B = (weights_BT > 0).sum(dim=1)
        states_BTH = self.encoder(ids_BT, lengths_B)
        vectors_BH: torch.Tensor = weighted_pool(states_BTH.float(), weights_BT)
        return vectors_BH

    def vectors(self, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
        """Vectors [B, H] in the teacher's space."""
        vectors_BH: torch.Tensor = self.offset + self.scale * self(ids_BT, weights_BT)
        return vectors_BH

    def standardise(self, teacher_BH: torch.Tensor) -> torch.Tensor:
        """Teacher vectors as the student learns them."""
        return (teacher_BH - self.offset) / self.scale


def parameters(student: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in student.parameters())


def _embedding(vocabulary: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(vocabulary, size)
    nn.init.normal_(embedding.weight, std=_EMBEDDING_STD)
    return embedding


def _mirror(lengths_B: torch.Tensor, tokens: int) -> torch.Tensor:
    """Indices [B, T] that reverse each row within its length and leave the padding in place.

    length 3 of 5:  0 1 2 3 4  ->  2 1 0 3 4
    """
    position_BT = torch.arange(tokens, device=lengths_B.device).expand(len(lengths_B), tokens)
    reversed_BT = lengths_B[:, None] - 1 - position_BT
    return torch.where(reversed_BT >= 0, reversed_BT, position_BT)


def _take(rows_BTx: torch.Tensor, index_BT: torch.Tensor) -> torch.Tensor:
    return rows_BTx.gather(1, index_BT[:, :, None].expand_as(rows_BTx))
