"""distill_jobs/student.py: what may and what may not change a student's vector."""

import pytest
import torch
from torch import nn

from distill_jobs.student import Student, fill, parameters
from distill_jobs.student_config import StudentConfig, preset
from schemas.weights import weighted_pool

CONFIG = StudentConfig(kind="bilstm", vocabulary=50, width=16, embedding=8)


KINDS = ("bilstm", "bilstm-small", "static", "mini-transformer")


def student(kind="bilstm", pooling="idf", **shape):
    torch.manual_seed(0)
    if kind == "mini-transformer":
        shape = {"hidden": 128, **shape}
    made = Student(preset(kind, vocabulary=50, width=16, embedding=8, pooling=pooling, **shape))
    made.offset.normal_()
    made.scale.fill_(2.0)
    return made.eval()


def batch(*rows):
    longest = max(map(len, rows))
    ids = torch.tensor([list(row) + [0] * (longest - len(row)) for row in rows])
    weights = torch.tensor(
        [[1 / len(row)] * len(row) + [0.0] * (longest - len(row)) for row in rows]
    )
    return ids, weights


@pytest.mark.parametrize("pooling", ["idf", "mean", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_neighbours_change_no_vector(kind, pooling):
    model = student(kind, pooling)
    alone = model.vectors(*batch([5, 6, 7]))
    beside = model.vectors(*batch([9, 8, 7, 6, 5, 4], [5, 6, 7], [1]))
    torch.testing.assert_close(beside[1:2], alone, atol=1e-6, rtol=1e-5)


def test_the_first_state_depends_on_the_last_token():
    encoder = student().encoder
    lengths = torch.tensor([3])
    one = encoder(torch.tensor([[5, 6, 7]]), lengths)
    other = encoder(torch.tensor([[5, 6, 8]]), lengths)
    assert not torch.allclose(one[0, 0], other[0, 0])


def test_the_last_state_depends_on_the_first_token():
    encoder = student().encoder
    lengths = torch.tensor([3])
    one = encoder(torch.tensor([[5, 6, 7]]), lengths)
    other = encoder(torch.tensor([[4, 6, 7]]), lengths)
    assert not torch.allclose(one[0, 2], other[0, 2])


def test_order_matters_to_all_but_the_static_student():
    for kind, same in (("bilstm", False), ("mini-transformer", False), ("static", True)):
        model = student(kind)
        one, other = model.vectors(*batch([5, 6, 7])), model.vectors(*batch([7, 6, 5]))
        assert torch.allclose(one, other, atol=1e-6) is same


def test_the_two_way_lstm_equals_torchs_bidirectional_one_on_packed_sentences():
    ours = student().encoder
    theirs = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
    for name, value in ours.forwards.named_parameters():
        getattr(theirs, name).data.copy_(value.data)
    for name, value in ours.backwards.named_parameters():
        getattr(theirs, f"{name}_reverse").data.copy_(value.data)
    ids, weights = batch([9, 8, 7, 6, 5], [5, 6, 7], [1])
    lengths = (weights > 0).sum(dim=1)
    packed = nn.utils.rnn.pack_padded_sequence(
        ours.embedding(ids), lengths, batch_first=True, enforce_sorted=False
    )
    expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    real = (weights > 0)[:, :, None]
    torch.testing.assert_close(ours(ids, lengths) * real, expected * real, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["idf", "mean", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_without_tokens_gets_the_mean_vector(kind, pooling):
    model = student(kind, pooling)
    found = model.vectors(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1))
    torch.testing.assert_close(found[0], model.offset)


def test_standardising_undoes_the_way_into_the_teachers_space():
    model = student()
    ids, weights = batch([5, 6, 7], [1])
    found = model.standardise(model.vectors(ids, weights))
    torch.testing.assert_close(found, model(ids, weights)[0])


@pytest.mark.parametrize(
    ("kind", "megabytes"),
    # 22m is the published size of LTD-BERT: 21,128 tokens x 180 and two LSTMs of 384.
    [
        ("bilstm", 16.4),
        ("bilstm-22m", 22.2),
        ("bilstm-small", 14.0),
        ("bilstm-tiny", 6.5),
        ("static", 64.9),
    ],
)
def test_the_sizes_for_a_teacher_of_bert_bases_shape(kind, megabytes):
    model = Student(preset(kind, vocabulary=21_128, width=768))
    assert parameters(model) * 4 / 1e6 == pytest.approx(megabytes, abs=0.05)


def test_projecting_after_pooling_is_projecting_every_state_when_the_weights_sum_to_1():
    model = student("bilstm-small")
    ids, weights = batch([5, 6, 7], [1, 2])
    states = model.encoder(ids, (weights > 0).sum(dim=1))
    before = weighted_pool(model.projection(states), weights)
    torch.testing.assert_close(model(ids, weights)[0], before, atol=1e-6, rtol=1e-5)


def test_mean_pooling_gives_each_token_the_same_weight_whatever_its_idf():
    ids, _ = batch([5, 6, 7, 8], [1, 2])
    idf = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.9, 0.1, 0.0, 0.0]])
    found, weights = student(pooling="mean")(ids, idf)
    assert weights.tolist() == [[0.25] * 4, [0.5, 0.5, 0.0, 0.0]]
    equal = torch.tensor([[0.25] * 4, [0.5, 0.5, 0.0, 0.0]])
    torch.testing.assert_close(found, student(pooling="idf")(ids, equal)[0])


def test_learned_weights_are_positive_sum_to_1_and_do_not_see_the_idf():
    model = student(pooling="learned")
    ids, weights = batch([5, 6, 7, 8], [1, 2])
    learned = model(ids, weights)[1]
    assert (learned[weights > 0] > 0).all()
    assert (learned[weights == 0] == 0).all()
    torch.testing.assert_close(learned.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(model(ids, (weights > 0).float())[1], learned)


def test_layers_that_share_their_weights_count_once():
    sizes = [parameters(student("mini-transformer", layers=3, share_layers=s)) for s in (0, 1)]
    one = parameters(student("mini-transformer", layers=1))
    two = parameters(student("mini-transformer", layers=2))
    assert sizes == [one + 2 * (two - one), one]


def test_an_embedding_of_low_rank_is_the_table_times_a_matrix():
    model = student("static")
    assert model.encoder.embedding.weight.shape == (50, 8)
    full = Student(preset("static", vocabulary=50, width=16)).eval()
    full.load_state_dict(
        {
            "encoder.embedding.weight": model.encoder.embedding.weight @ model.projection.weight.T,
            "offset": model.offset,
            "scale": model.scale,
        }
    )
    ids, weights = batch([5, 6, 7], [1, 2])
    torch.testing.assert_close(
        model.vectors(ids, weights), full.vectors(ids, weights), atol=1e-6, rtol=1e-5
    )


def test_a_projection_is_there_where_the_states_have_another_width_or_it_is_asked_for():
    assert student().projection.weight.shape == (16, 16)
    assert student(projected=False).projection is None
    assert student("bilstm-22m").projection is None
    assert student(projected=False, hidden=4).projection.weight.shape == (16, 8)


def test_tokens_that_are_not_kept_share_one_vector():
    model = student(kept=2)
    model.keep([5, 9])
    assert model.encoder.embedding.weight.shape == (3, 8)
    found = model.vectors(*batch([5, 6, 9], [5, 7, 9], [9, 6, 5], [5, 5, 9]))
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)
    assert not torch.allclose(found[0], found[2])
    assert not torch.allclose(found[0], found[3])


def test_as_many_tokens_must_be_kept_as_the_shape_says():
    for tokens in ([5], [5, 5], [1, 2, 3]):
        with pytest.raises(ValueError, match=f"2 token ids are kept, got {len(set(tokens))}"):
            student(kept=2).keep(tokens)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"pooling": "max"}, "idf, mean, learned, got 'max'"),
        ({"kind": "gru"}, "static, mini-transformer, got 'gru'"),
        ({"kind": "mini-transformer"}, r"layers and hidden must be at least 1, got \(0, 0\)"),
        ({"layers": 2}, "only mini-transformer has layers, not bilstm"),
        ({"share_layers": True}, "only mini-transformer has layers, not bilstm"),
        ({"kind": "static", "hidden": 3}, "static has no hidden units, got hidden 3"),
        ({"kept": 50}, "kept must be below the vocabulary, 50: 50"),
        ({"width": 15}, "even, got 15"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        StudentConfig(**{**vars(CONFIG), **change})


def test_the_narrowest_students_have_a_unit():
    assert preset("bilstm-tiny", vocabulary=50, width=4).states == 2


def test_weights_of_another_shape_are_refused_saying_what_to_do():
    made = student("static")
    older = {**made.state_dict(), "encoder.embedding.weight": torch.zeros(50, 16)}
    del older["projection.weight"]
    with pytest.raises(ValueError, match="in old are not those of this static student; if an"):
        fill(made, older, of="old")
