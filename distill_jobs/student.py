"""The students: token ids and weights in, sentence vectors in the teacher's space out. Torch only.

Array letters: B sentences, T tokens, E embedding size, S states of a token, H the teacher's width.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from distill_jobs.student_config import StudentConfig
from distill_jobs.token_encoders import token_encoder
from schemas.weights import weighted_pool

TINY = 1e-12  # what a sentence of no tokens is divided by


class Student(nn.Module):
    """An encoder of tokens, pooled under the teacher's own IDF weights, or weights of its own.

    It learns the teacher's vectors centred and scaled: ``offset + scale * output`` is in the
    teacher's space. Both numbers come from the store and are saved with the weights.
    """

    offset: torch.Tensor
    scale: torch.Tensor
    rows: torch.Tensor | None

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = token_encoder(config)
        self.projection = _projection(config)
        self.weigher = nn.Linear(config.states, 1) if config.pooling == "learned" else None
        self.register_buffer("offset", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(()))
        rows = torch.zeros(config.vocabulary, dtype=torch.int32) if config.kept else None
        self.register_buffer("rows", rows)

    def forward(
        self, ids_BT: torch.Tensor, weights_BT: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Centred and scaled vectors [B, H] and the weights [B, T] of their pooling, in float32.

        Args:
            ids_BT: tokens of the sentence, special tokens left out.
            weights_BT: positive for tokens, 0 for padding, which follows the tokens. Students that
                do not pool by IDF look at nothing but that.
        """
        lengths_B = (weights_BT > 0).sum(dim=1)
        rows_BT = ids_BT if self.rows is None else self.rows[ids_BT]
        states_BTS = self.encoder(rows_BT, lengths_B).float()
        pooling_BT = self._pooling_weights(states_BTS, weights_BT)
        vectors_BS: torch.Tensor = weighted_pool(states_BTS, pooling_BT)
        vectors_BH = vectors_BS if self.projection is None else self.projection(vectors_BS).float()
        return vectors_BH, pooling_BT

    def _pooling_weights(self, states_BTS: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
        if self.config.pooling == "idf":
            return weights_BT
        raw_BT = (weights_BT > 0).float()
        if self.weigher is not None:
            raw_BT = raw_BT * functional.softplus(self.weigher(states_BTS)[..., 0].float())
        return raw_BT / raw_BT.sum(dim=1, keepdim=True).clamp(min=TINY)

    def vectors(self, ids_BT: torch.Tensor, weights_BT: torch.Tensor) -> torch.Tensor:
        """Vectors [B, H] in the teacher's space."""
        vectors_BH: torch.Tensor = self.offset + self.scale * self(ids_BT, weights_BT)[0]
        return vectors_BH

    def standardise(self, teacher_BH: torch.Tensor) -> torch.Tensor:
        """Teacher vectors as the student learns them."""
        return (teacher_BH - self.offset) / self.scale

    def keep(self, token_ids: Sequence[int]) -> None:
        """Say which token ids have rows of their own, before the training.

        Raises:
            ValueError: if they are not `kept` different ids.
        """
        if self.rows is None or len(set(token_ids)) != self.config.kept:
            raise ValueError(f"{self.config.kept} token ids are kept, got {len(set(token_ids))}")
        self.rows.zero_()
        self.rows[list(token_ids)] = torch.arange(1, len(token_ids) + 1, dtype=torch.int32)


def fill(student: Student, tensors: Mapping[str, torch.Tensor], of: str) -> None:
    """Give a student its weights.

    Args:
        student: of the same shape.
        tensors: by the names of its state_dict.
        of: where they come from, for the error.

    Raises:
        ValueError: if they are those of another shape.
    """
    try:
        student.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {of} are not those of this {student.config.kind} student; if an older "
            f"version made them, train it again ({str(error).splitlines()[-1].strip()})"
        ) from error


def parameters(student: nn.Module) -> int:
    """Number of trained numbers."""
    return sum(parameter.numel() for parameter in student.parameters())


def _projection(config: StudentConfig) -> nn.Linear | None:
    """From pooled states to vectors, if asked for, or if the states do not have their width.

    After pooling, it costs one row a sentence, not a token. Both are linear, so the vectors are the
    same; without a bias a sentence of no tokens still gets the mean vector.
    """
    if config.states == config.width and not config.layers and not config.projected:
        return None
    projection = nn.Linear(config.states, config.width, bias=False)
    if config.layers:
        # The transformer's states have length sqrt(S), the targets 1: begin below that.
        nn.init.normal_(projection.weight, std=0.5 / (config.states * config.width) ** 0.5)
    return projection
