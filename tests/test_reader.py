"""distill_jobs/reader.py: every row once, in an order that only the seed and the epoch decide."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from distill_jobs import checkpoint
from distill_jobs.loop import new_student
from distill_jobs.padding import pad_content
from distill_jobs.preflight import preflight
from distill_jobs.reader import (
    Plan,
    ahead,
    batches,
    hold_out,
    row_groups,
    to_batch,
)
from distill_jobs.train import TrainConfig, distil
from distill_jobs.validation import held_out_batches, validate
from schemas import parts
from schemas.store import open_store
from schemas.vectors import Decoder, open_decoder
from tests.vector_store import make_store

STREAMS = 8
IDF = Decoder("idf", ("vector_idf",))


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    return row_groups(open_store(make_store(tmp_path_factory.mktemp("reader") / "store")))


def plan(groups, seed=0, epoch=0, batch=32):
    return Plan(groups, streams=STREAMS, batch=batch, seed=seed, epoch=epoch)


def keys(batch):
    """What is in a batch, order aside: its target vectors."""
    return sorted(tuple(row) for row in batch.teacher_BH.numpy().round(5)) if batch.rows else []


def read(groups, rank=0, world=1, start=0, **of_plan):
    return list(
        batches(plan(groups, **of_plan), IDF, rank=rank, world=world, streams=STREAMS, start=start)
    )


def test_every_row_comes_exactly_once_an_epoch(groups):
    found = [key for batch in read(groups) for key in keys(batch)]
    assert len(found) == 400
    assert len(set(found)) == 400


@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_the_global_batch_is_the_same_for_any_number_of_workers(groups, world):
    alone = [keys(batch) for batch in read(groups)]
    shares = [read(groups, rank, world) for rank in range(world)]
    together = [
        sorted(k for share in step for k in keys(share)) for step in zip(*shares, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_worker_knows_the_size_of_the_global_batch(groups, world):
    shares = [read(groups, rank, world) for rank in range(world)]
    for step in zip(*shares, strict=True):
        assert {share.global_rows for share in step} == {sum(share.rows for share in step)}


@pytest.mark.parametrize("start", [1, 5, 11])
def test_starting_at_a_step_gives_the_tail_of_the_whole(groups, start):
    whole, tail = read(groups), read(groups, start=start)
    assert len(tail) == len(whole) - start
    for one, other in zip(whole[start:], tail, strict=True):
        assert torch.equal(one.ids_BT, other.ids_BT)
        assert torch.equal(one.teacher_BH, other.teacher_BH)


def test_starting_in_a_later_window_gives_the_tail_too(groups):
    whole, tail = read(groups, batch=8), read(groups, batch=8, start=37)
    assert len(whole) > 40
    assert [keys(batch) for batch in whole[37:]] == [keys(batch) for batch in tail]


def test_another_epoch_and_another_seed_have_another_order(groups):
    first = [keys(batch) for batch in read(groups)]
    assert first == [keys(batch) for batch in read(groups)]
    assert first != [keys(batch) for batch in read(groups, epoch=1)]
    assert first != [keys(batch) for batch in read(groups, seed=1)]


def test_batches_hold_sentences_of_like_length(groups):
    def padding(found):
        return np.mean([(batch.weights_BT == 0).float().mean().item() for batch in found])

    assert padding(read(groups)) < 0.25  # lengths are 2 to 12: random batches have 0.42


def test_special_tokens_are_left_out(groups):
    for batch in read(groups):
        assert not torch.isin(batch.ids_BT[batch.weights_BT > 0], torch.tensor([2, 3])).any()
        torch.testing.assert_close(batch.weights_BT.sum(dim=1), torch.ones(batch.rows))


def test_padding_agrees_with_the_obvious_loop():
    rng = np.random.default_rng(0)
    lengths = np.array([3, 7, 4], dtype=np.int32)
    ids, weights = np.arange(14, dtype=np.int32), rng.random(14).astype(np.float32)
    weights[[0, 2, 3, 9, 10, 13]] = 0
    found, _ = pad_content(ids, weights, lengths)
    rows = [
        [i for i in piece if weights[i] > 0] for piece in np.split(ids, np.cumsum(lengths)[:-1])
    ]
    assert found.tolist() == [row + [0] * (len(max(rows, key=len)) - len(row)) for row in rows]


def test_an_empty_share_counts_for_nothing_but_keeps_step():
    empty = pa.table({"token_ids": [[1]], "weights": [[1.0]], "vector_idf": [[1.0]]}).slice(0, 0)
    batch = to_batch(empty, IDF, global_rows=5)
    assert batch.rows == 0
    assert batch.ids_BT.shape == (1, 1)


def test_held_out_row_groups_are_not_trained_on(groups):
    training, held = hold_out(groups, 60, seed=0)
    assert sum(group.rows for group in held) >= 60
    assert not {(g.path, g.index) for g in held} & {(g.path, g.index) for g in training}
    assert len(training) + len(held) == len(groups)


def test_a_store_of_one_row_group_is_refused(groups):
    with pytest.raises(ValueError, match="1 row group"):
        hold_out(groups[:1], 10, seed=0)


def test_numbers_that_cannot_be_shared_are_refused(groups):
    with pytest.raises(ValueError, match="multiple of 8, got 30"):
        plan(groups, batch=30)
    with pytest.raises(ValueError, match="at most 8 workers, one a stream, got 9"):
        read(groups, world=9)


@pytest.fixture(scope="module")
def kept(tmp_path_factory, embed, small_corpus):
    """Stores of the small corpus, by how they keep its vectors."""
    folder = tmp_path_factory.mktemp("kept")
    ways = {
        "float32": {},
        "float16": {"vector_dtype": "float16"},
        "int8": {"vector_dtype": "int8"},
        "pca": {"pca": 12},
        "pca+int8": {"pca": 12, "vector_dtype": "int8"},
    }
    for name, settings in ways.items():
        embed(small_corpus, out=folder / name, **settings)
    return folder


@pytest.mark.parametrize("way", ["float16", "int8", "pca", "pca+int8"])
def test_batches_hold_whole_vectors_whatever_the_store_keeps(kept, way):
    exact, found = (
        list(
            batches(
                plan(row_groups(opened)),
                open_decoder(opened, "idf"),
                rank=0,
                world=1,
                streams=STREAMS,
            )
        )
        for opened in (open_store(kept / "float32"), open_store(kept / way))
    )
    for one, other in zip(exact, found, strict=True):
        assert torch.equal(one.ids_BT, other.ids_BT)
        assert other.teacher_BH.dtype == torch.float32
        cosines = torch.cosine_similarity(one.teacher_BH, other.teacher_BH)
        assert cosines.min() > {"float16": 0.99999, "int8": 0.999}.get(way, 0.9)


def taught(kept, way, out):
    """Scores of a student trained from one of the stores, against the whole vectors."""
    settings = {
        "epochs": 40,
        "learning_rate": 0.02,
        "batch_size": 32,
        "embedding": 8,
        "validation_rows": 60,
        "precision": "float32",
    }
    asked = TrainConfig(store=str(kept / way), out=out, **settings)
    student = new_student(preflight(asked)[0])
    checkpoint.load_student(Path(distil(asked)["checkpoint"]), student)
    assert student.config.width == 16
    exact = open_store(kept / "float32")
    _, held = hold_out(row_groups(exact), 60, seed=0)
    whole = held_out_batches(held, open_decoder(exact, "idf"))
    return validate(student, whole, torch.device("cpu"))


@pytest.fixture(scope="module")
def taught_exactly(kept, tmp_path_factory):
    return taught(kept, "float32", tmp_path_factory.mktemp("exact") / "training")


@pytest.mark.parametrize("way", ["float16", "int8", "pca", "pca+int8"])
def test_a_student_taught_with_less_is_as_near_the_teacher(kept, taught_exactly, tmp_path, way):
    scores = taught(kept, way, tmp_path / "training")
    assert taught_exactly["spearman"] > 0.5
    for name in ("spearman", "cosine", "unexplained"):
        assert scores[name] == pytest.approx(taught_exactly[name], abs=0.05)


def test_a_changed_projection_stops_a_training_before_it_starts(kept, tmp_path):
    made_by = open_store(kept / "pca").fingerprint["projection"]
    shutil.copytree(kept / "pca", tmp_path / "store")
    shutil.copytree(kept / "pca.projection", tmp_path / "store.projection")
    path = tmp_path / "store.projection" / made_by / "projection.parquet"
    table = parts.read(path)
    vectors = [vector[::-1] for vector in table["vector"].to_pylist()]
    spoiled = table.set_column(
        2, table.schema.field(2), pa.array(vectors, table.schema.field(2).type)
    )
    parts.write(spoiled, path.parent, path.name)
    asked = TrainConfig(store=str(tmp_path / "store"), out=tmp_path / "t", validation_rows=60)
    with pytest.raises(ValueError, match=r"projection\.parquet has changed since it was written"):
        preflight(asked)
    shutil.rmtree(tmp_path / "store.projection")
    with pytest.raises(FileNotFoundError, match=r"there is no projection at .*; the store needs"):
        preflight(asked)


def test_an_error_while_decoding_ahead_comes_through():
    def broken():
        yield to_batch(
            pa.table({"token_ids": [[1]], "weights": [[1.0]], "vector_idf": [[1.0]]}), IDF, 1
        )
        raise ValueError("page checksum")

    items = ahead(broken())
    next(items)
    with pytest.raises(ValueError, match="page checksum"):
        next(items)
