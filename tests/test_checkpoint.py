"""distill_jobs/checkpoint.py: the newest sound checkpoint wins, whatever happened to the others."""

import pytest
import torch

from distill_jobs import checkpoint
from distill_jobs.checkpoint import State
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig

CONFIG = StudentConfig(kind="bilstm", vocabulary=20, width=8, embedding=4)


def trained(steps):
    torch.manual_seed(steps)
    student = Student(CONFIG)
    optimizer = torch.optim.AdamW(student.parameters())
    student(torch.tensor([[1, 2]]), torch.tensor([[0.5, 0.5]]))[0].sum().backward()
    optimizer.step()
    return student, optimizer


def save(folder, steps):
    student, optimizer = trained(steps)
    return checkpoint.save(
        folder, student, optimizer, State(steps, {"spearman": 0.5}, 1.0)
    ), student


def test_a_checkpoint_gives_student_and_optimizer_back_to_the_bit(tmp_path):
    path, student = save(tmp_path, 3)
    other, optimizer = trained(4)
    checkpoint.load_student(path, other)
    checkpoint.load_optimizer(path, optimizer)
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.state_dict().values(), student.state_dict().values(), strict=True)
    )
    expected = trained(3)[1].state_dict()["state"]
    for index, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, expected[index][key]) for key, value in state.items())
    assert checkpoint.read_state(path) == State(3, {"spearman": 0.5}, 1.0)


def test_only_the_newest_few_are_kept(tmp_path):
    for steps in range(1, 6):
        save(tmp_path, steps)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"step-{s:08d}" for s in (3, 4, 5)
    ]


@pytest.mark.parametrize("name", ["student.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(tmp_path, name, damage):
    old, _ = save(tmp_path, 1)
    new, _ = save(tmp_path, 2)
    content = (new / name).read_bytes()
    if damage == "truncate":
        (new / name).write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        (new / name).unlink()
    else:
        middle = content.index(b"sha256") + 12 if name == "state.json" else len(content) - 3
        flipped = bytes([content[middle] ^ 1])
        (new / name).write_bytes(content[:middle] + flipped + content[middle + 1 :])
    found, complaints = checkpoint.newest(tmp_path)
    assert found == old
    assert len(complaints) == 1
    assert "step-00000002" in complaints[0]


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert checkpoint.newest(tmp_path / "nothing") == (None, [])
