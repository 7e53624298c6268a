"""A student -> its arrays by name; changed arrays -> a student. NumPy in between.

Array letters: V rows of the embedding, E embedding size, S states of a token, H the vectors' width,
h hidden units each way.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from schemas.weights import Floats

Arrays = dict[str, npt.NDArray[np.generic]]
"""By torch's names, as the student's state_dict has them."""

DIRECTIONS = ("encoder.forwards", "encoder.backwards")
PROJECTION, WEIGHER = "projection.weight", "weigher.weight"


def arrays_of(student: Student) -> dict[str, Floats]:
    """Copies of everything that a student holds."""
    return {name: value.numpy().copy() for name, value in student.state_dict().items()}


def embedding_name(config: StudentConfig) -> str:
    """Which array is the table of token vectors [V, E]."""
    if config.kind == "mini-transformer":
        return "encoder.model.embeddings.word_embeddings.weight"
    return "encoder.embedding.weight"


def matrices(student: Student) -> list[str]:
    """The names of the big weights: tables and matrices, not biases, norms or the pooling's."""
    named = student.named_parameters()
    return [name for name, one in named if one.ndim == 2 and name != WEIGHER]


def projection_of(student: Student) -> Floats:
    """What turns pooled states into vectors [H, S]; the identity where nothing does."""
    if student.projection is None:
        return np.eye(student.config.width, dtype=np.float32)
    found: Floats = student.projection.weight.detach().numpy()
    return found


def with_fixed_states(config: StudentConfig) -> StudentConfig:
    """The same shape, saying S itself, so that another width does not change it."""
    match config.kind:
        case "mini-transformer":
            return config
        case "static":
            return dataclasses.replace(config, embedding=config.states)
        case _:
            return dataclasses.replace(config, hidden=config.states // 2)


def assembled(config: StudentConfig, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Student:
    """A student of the given shape that holds the arrays, ready to run."""
    student = Student(dataclasses.replace(config, projected=PROJECTION in arrays))
    student.load_state_dict(
        {
            name: torch.from_numpy(np.ascontiguousarray(value)).to(student.state_dict()[name].dtype)
            for name, value in arrays.items()
        }
    )
    return student.eval()
