"""The training loop: the same code in this process, and in each worker that Ray Train starts.

It looks for the newest sound checkpoint whenever it is entered, so that being killed and started
again, by Ray or by a person, is the ordinary way in.
"""

import contextlib
import dataclasses
import functools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from tensorboardX import SummaryWriter
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from distill_jobs import checkpoint, rows_learned, targets
from distill_jobs.checkpoint import State
from distill_jobs.objectives import Objective, divergence, read_objective
from distill_jobs.reader import Batch, Group, Plan, batches, draw, hold_out, row_groups
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from distill_jobs.validation import held_out_batches, validate
from schemas.store import open_store
from schemas.vectors import Decoder, open_decoder

LOG_EVERY = 50  # steps


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that a worker needs to know; the same for all, and plain JSON.

    Attributes:
        store: folder of the teacher store.
        store_version: the version to read.
        pooling: which vector column is the target.
        student: shape of the student.
        objective: for `read_objective`.
        offset: mean of the target vectors [K].
        scale: root of the mean squared distance from that mean.
        folder: of the run; absolute.
        epochs, batch_size, learning_rate, streams, seed: of the training.
        precision: float32 or bfloat16.
        validation_rows: about how many rows are held out.
        checkpoint_every: steps.
        warm_start: checkpoint folder of another run to begin from, or None.
        kept: token ids with vectors of their own; empty: all.
        rows: about how many rows to train on, 0 for all.
        since: of these, all of this ingest date and later, unless it is empty.
        target: what of the teacher's vectors to learn, see `distill_jobs.targets`; a map of them
            is in the folder.
    """

    store: str
    store_version: int
    pooling: str
    student: StudentConfig
    objective: str
    offset: tuple[float, ...]
    scale: float
    folder: str
    epochs: int
    batch_size: int
    learning_rate: float
    streams: int
    seed: int
    precision: str
    validation_rows: int
    checkpoint_every: int
    warm_start: str | None
    kept: tuple[int, ...] = ()
    rows: int = 0
    since: str = ""
    target: str = "teacher"

    def plan(self, epoch: int) -> Plan:
        """The order of the training rows in one epoch."""
        training, size = self.groups()[0], self.batch_size
        return Plan(training, streams=self.streams, batch=size, seed=self.seed, epoch=epoch)

    def groups(self) -> tuple[list[Group], list[Group]]:
        """The row groups to train on, and those held out."""
        groups = row_groups(open_store(self.store, self.store_version))
        training, held = hold_out(groups, self.validation_rows, self.seed)
        if not self.rows:
            return training, held
        return draw(training, self.rows, self.seed, self.since), held

    def decoder(self) -> Decoder:
        """What reads the target vectors."""
        decoder = open_decoder(open_store(self.store, self.store_version), self.pooling)
        if self.target == "teacher":
            return decoder
        return dataclasses.replace(decoder, then=targets.load(Path(self.folder)).of)


def new_student(run: Run) -> Student:
    """The student as it is before the first step: seeded, or a copy of the warm start."""
    torch.manual_seed(run.seed)
    student = Student(run.student)
    if run.kept:
        student.keep(run.kept)
    if run.warm_start:
        checkpoint.load_student(Path(run.warm_start), student)
    student.offset.copy_(torch.tensor(run.offset))
    student.scale.fill_(run.scale)
    return student


def train(run: Run, report: Callable[[dict[str, float]], None]) -> None:
    """Train to the end of the last epoch, from wherever the newest sound checkpoint is.

    Args:
        run: what to do.
        report: called by every worker after each checkpoint, with the validation scores.
    """
    rank, world = _place()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(run.folder) / "checkpoints"
    student = new_student(run).to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=run.learning_rate, weight_decay=0.01)
    state = _resume(folder, student, optimizer, rank)
    wrapped = DistributedDataParallel(student) if world > 1 else student
    objective = read_objective(run.objective)
    held_out = held_out_batches(run.groups()[1], run.decoder()) if rank == 0 else []
    per_epoch = run.plan(0).steps
    total = per_epoch * run.epochs
    log = _Log(Path(run.folder)) if rank == 0 else None
    began = time.monotonic() - state.seconds
    tally = rows_learned.Tally(run.epochs, state.rows_learned)
    for step, batch in _all_batches(run, state.step, per_epoch, rank, world):
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * schedule(step, total)
        part = functools.partial(objective, done=step / max(1, total - 1))
        loss = _step(wrapped, student, batch, part, run.precision)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        tally.add(step // per_epoch, batch.ids_BT[: batch.rows].numpy())
        done = step + 1
        if log and (done % LOG_EVERY == 0 or done == total):
            log.write(done, {"loss": float(loss), "epoch": done / per_epoch})
        if done % run.checkpoint_every and done != total:
            continue
        learned = tally.total()
        if rank == 0 and log:
            if done == total:
                rows_learned.check(learned, run.groups()[0])
            scores = validate(student, held_out, device)
            log.write(done, {**scores, "peak_memory_bytes": _peak_memory()})
            seconds = round(time.monotonic() - began, 3)
            checkpoint.save(folder, student, optimizer, State(done, scores, seconds, learned))
            report(scores)
        else:
            report({})
    if log:
        log.close()


def schedule(step: int, total: int, warm_up: float = 0.05) -> float:
    """Share of the learning rate at a step: a linear rise, then a linear fall to 0.

    >>> [round(schedule(step, 100), 2) for step in (0, 4, 5, 52, 99)]
    [0.2, 1.0, 1.0, 0.51, 0.01]
    """
    rise = max(1, int(total * warm_up))
    return min((step + 1) / rise, (total - step) / max(1, total - rise))


def _step(
    wrapped: torch.nn.Module,
    student: Student,
    batch: Batch,
    objective: Objective,
    precision: str,
) -> torch.Tensor:
    """Gradients of one batch, averaged over all its sentences wherever they are."""
    device = student.offset.device
    weights_BT = batch.weights_BT.to(device, non_blocking=True)
    with _autocast(device, precision):
        out_BH, pooling_BT = wrapped(batch.ids_BT.to(device, non_blocking=True), weights_BT)
    target_BH = student.standardise(batch.teacher_BH.to(device, non_blocking=True))
    loss = objective(out_BH.float(), target_BH)
    if student.config.pooling == "learned":
        loss = loss + divergence(pooling_BT, weights_BT)
    # Workers average their gradients; this share makes the average one over sentences.
    share = batch.rows * _place()[1] / batch.global_rows
    student.zero_grad(set_to_none=True)
    (loss * share).backward()
    return loss.detach()


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    if precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def _all_batches(
    run: Run, start: int, per_epoch: int, rank: int, world: int
) -> Iterator[tuple[int, Batch]]:
    """Steps, counted over all epochs, with this worker's share of their batches."""
    decoder = run.decoder()
    for epoch in range(start // per_epoch, run.epochs):
        first = max(start - epoch * per_epoch, 0)
        shares = batches(
            run.plan(epoch), decoder, rank=rank, world=world, streams=run.streams, start=first
        )
        for offset, batch in enumerate(shares):
            yield epoch * per_epoch + first + offset, batch


def _resume(folder: Path, student: Student, optimizer: torch.optim.Optimizer, rank: int) -> State:
    """Go on from the newest sound checkpoint, if there is one; all workers agree on which.

    Worker 0 alone decides: a checkpoint could be pruned while another worker looks.
    """
    found: list[str | None] = [None]
    if rank == 0:
        path, complaints = checkpoint.newest(folder)
        found = [str(path) if path else None]
        for complaint in complaints:
            _say({"event": "checkpoint skipped", "why": complaint})
    if distributed.is_initialized():
        distributed.broadcast_object_list(found)
    if found[0] is None:
        return State(0, {}, 0.0, ())
    checkpoint.load_student(Path(found[0]), student)
    checkpoint.load_optimizer(Path(found[0]), optimizer)
    state = checkpoint.read_state(Path(found[0]))
    if rank == 0:
        _say({"event": "resumed", "step": state.step})
    return state


def _place() -> tuple[int, int]:
    """This worker's number and how many there are."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


class _Log:
    """Numbers by step, for TensorBoard and as JSON lines beside the checkpoints."""

    def __init__(self, folder: Path) -> None:
        self._lines = (folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: int, numbers: dict[str, float]) -> None:
        self._lines.write(json.dumps({"step": step, **numbers}) + "\n")
        self._lines.flush()
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        self._lines.close()
        self._board.close()


def _peak_memory() -> int:
    """Most bytes that this process has held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _say(event: dict[str, object]) -> None:
    sys.stderr.write(json.dumps(event) + "\n")
