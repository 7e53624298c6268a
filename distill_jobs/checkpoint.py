"""Checkpoints that are whole or not there: safetensors and JSON, verified when loaded.

Ray Train 2.60 keeps reloading a truncated checkpoint until its retries run out; here the newest
*valid* one wins. A folder ``step-00000500`` is written aside and renamed; its ``state.json`` holds
the sha256 of the other files, and a digest of what it says itself.
"""

import dataclasses
import json
import os
import shutil
import uuid
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from distill_jobs.student import Student, fill
from schemas.fingerprint import file_digest, read_sealed, seal

_FILES = ("student.safetensors", "optimizer.safetensors")
KEEP = 3


@dataclasses.dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        step: optimizer steps done, over all epochs.
        scores: validation scores at that step.
        seconds: spent training so far.
        rows_learned: their number and the digest of their tokens, by epoch, as
            `distill_jobs.rows_learned` has them; None in a training begun before that.
    """

    step: int
    scores: dict[str, float]
    seconds: float
    rows_learned: tuple[tuple[int, int], ...] | None = None


def save(folder: Path, student: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> Path:
    """Write a checkpoint, and drop all but the newest few.

    Args:
        folder: of all checkpoints of a run.
        student: its parameters and buffers are saved.
        optimizer: AdamW.
        state: goes into ``state.json``.
    """
    for left_behind in folder.glob(".*"):  # by a training that was killed while it wrote
        shutil.rmtree(left_behind)
    target = folder / _name(state.step)
    aside = folder / f".{uuid.uuid4().hex}"
    aside.mkdir(parents=True)
    try:
        _write(aside, student, optimizer, state)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    _sync(folder)
    for old in sorted(folder.glob("step-*"))[:-KEEP]:
        shutil.rmtree(old)
    return target


def _write(aside: Path, student: nn.Module, optimizer: torch.optim.Optimizer, state: State) -> None:
    tensors = {name: value.contiguous() for name, value in student.state_dict().items()}
    save_tensors(tensors, aside / _FILES[0])
    save_tensors(_flatten(optimizer), aside / _FILES[1])
    digests = {name: file_digest(aside / name) for name in _FILES}
    described = seal({**dataclasses.asdict(state), "sha256": digests})
    (aside / "state.json").write_text(json.dumps(described, indent=2), encoding="utf-8")
    for path in aside.iterdir():
        _sync(path)


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file that any reader takes.

    Raises:
        OSError: naming the file, if it cannot be written.
    """
    try:
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def _name(step: int) -> str:
    return f"step-{step:08d}"


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is sound, and what is wrong with newer ones."""
    complaints: list[str] = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        complaint = find_fault(path)
        if complaint is None:
            return path, complaints
        complaints.append(complaint)
    return None, complaints


def find_fault(path: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None."""
    try:
        described = read_sealed(path / "state.json")
        if path.name != _name(described["step"]):
            return f"{path} has the state of another step"
        for name in _FILES:
            if file_digest(path / name) != described["sha256"][name]:
                return f"{path / name} has changed since it was written"
    except (OSError, ValueError, KeyError) as error:
        return f"{path} is not a whole checkpoint: {error}"
    return None


def read_state(path: Path) -> State:
    """The state of a checkpoint that `find_fault` has passed."""
    described = json.loads((path / "state.json").read_text(encoding="utf-8"))
    learned = described.get("rows_learned")
    return State(
        described["step"],
        described["scores"],
        described["seconds"],
        learned and tuple((rows, digest) for rows, digest in learned),
    )


def load_student(path: Path, student: Student) -> None:
    """Fill a student with a checkpoint's parameters and buffers.

    Raises:
        ValueError: if they are those of another shape.
    """
    fill(student, safetensors.torch.load_file(path / _FILES[0]), of=str(path))


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Fill an optimizer of the same parameters with a checkpoint's state."""
    described = optimizer.state_dict()
    described["state"] = {}
    for name, value in safetensors.torch.load_file(path / _FILES[1]).items():
        index, _, key = name.partition(".")
        described["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(described)


def _flatten(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"{i}.{key}": value for i, state in states.items() for key, value in state.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
