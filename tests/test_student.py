"""distill_jobs/student.py: what may and what may not change a student's vector."""

import pytest
import torch
from torch import nn

from distill_jobs.student import BiLstm, Student, StudentConfig, parameters

CONFIG = StudentConfig(kind="bilstm", vocabulary=50, width=16, embedding=8)


def student(kind="bilstm"):
    torch.manual_seed(0)
    made = Student(StudentConfig(kind=kind, vocabulary=50, width=16, embedding=8))
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


@pytest.mark.parametrize("kind", ["bilstm", "static"])
def test_padding_and_neighbours_change_no_vector(kind):
    model = student(kind)
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


def test_order_matters_to_the_bilstm_but_not_to_the_static_student():
    for kind, same in (("bilstm", False), ("static", True)):
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


def test_a_sentence_without_tokens_gets_the_mean_vector():
    model = student()
    found = model.vectors(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1))
    torch.testing.assert_close(found[0], model.offset)


def test_standardising_undoes_the_way_into_the_teachers_space():
    model = student()
    ids, weights = batch([5, 6, 7], [1])
    torch.testing.assert_close(model.standardise(model.vectors(ids, weights)), model(ids, weights))


def test_the_published_size_of_ltd_bert():
    # 21,128 tokens x 180 and two LSTMs of 384: 5.5 million numbers, 22 MB.
    config = StudentConfig(kind="bilstm", vocabulary=21_128, width=768, embedding=180)
    assert parameters(BiLstm(config)) * 4 / 1e6 == pytest.approx(22, abs=0.5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"kind": "gru"}, "bilstm, static, got 'gru'"), ({"width": 15}, "even, got 15")],
)
def test_a_shape_that_cannot_be_built_is_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        StudentConfig(**{**vars(CONFIG), **change})
