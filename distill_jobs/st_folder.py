"""A student -> a folder that sentence-transformers loads with its own modules, without our code.

modules.json                        which modules, in which order
config_sentence_transformers.json   which versions can read them
tokenizer.json                      the teacher's, which also cleans and cuts
model.safetensors                   a vector for each token
1_LSTM/ 2_Pooling/ 3_Dense/         the other modules; the last is projection, scale and mean in one
1_Dense/                            the only other one of a static student that pools by mean
Array letters: V tokens of the vocabulary, E embedding size, S states of a token, H the width.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional

from distill_jobs.checkpoint import save_tensors
from distill_jobs.plain_tokenizer import content_tokens, plain_tokenizer
from distill_jobs.student import Student
from distill_jobs.token_encoders import BiLstm, Static

_MODULES = "sentence_transformers.sentence_transformer.modules."
_WORDS = "tokenizer.word.TransformersTokenizerWrapper"
LEAST_VERSION = ">=6.0"  # 5.7 loads the folder, but cannot encode with it

_CONFIG = {
    "model_type": "SentenceTransformer",
    "requirements": {"sentence-transformers": LEAST_VERSION},
    "prompts": {},
    "default_prompt_name": None,
    "similarity_fn_name": "cosine",
}


class _Module(NamedTuple):
    """One of sentence-transformers' modules, as it stands on disk."""

    kind: str
    config: Mapping[str, object]
    tensors: Mapping[str, torch.Tensor]
    config_file: str = "config.json"


def write_sentence_transformers(
    student: Student, tokenizer_json: str, max_tokens: int, folder: Path
) -> None:
    """Write the modules whose vectors are the student's.

    Args:
        student: with its trained weights, on the CPU.
        tokenizer_json: the text of its teacher's ``tokenizer.json``.
        max_tokens: special tokens included; longer sentences are cut.
        folder: that exists.

    Raises:
        ValueError: if sentence-transformers has no modules for such a student.
        OSError: naming the file, if one cannot be written.
    """
    modules = _modules(student, content_tokens(tokenizer_json, max_tokens))
    listed = []
    for index, module in enumerate(modules):
        path = f"{index}_{module.kind.rpartition('.')[2]}" if index else ""
        listed.append({"idx": index, "name": str(index), "path": path, "type": module.kind})
        (folder / path).mkdir(exist_ok=True)
        if module.config:
            _write_json(folder / path / module.config_file, module.config)
        if module.tensors:
            tensors = {name: one.detach().contiguous() for name, one in module.tensors.items()}
            save_tensors(tensors, folder / path / "model.safetensors")
    _write_json(folder / "modules.json", listed)
    _write_json(folder / "config_sentence_transformers.json", _CONFIG)
    # Not the teacher's own class, which may build another tokenizer than the file says.
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    plain = plain_tokenizer(tokenizer_json, max_tokens)
    (folder / "tokenizer.json").write_text(plain, encoding="utf-8")


def check_expressible(student: Student) -> None:
    """Refuse a student that sentence-transformers has no modules for.

    Raises:
        ValueError: naming its pooling or its kind, and what to do.
    """
    config = student.config
    if not isinstance(student.encoder, (BiLstm, Static)):
        raise ValueError(
            f"a {config.kind} student cannot be written for sentence-transformers: train one with "
            "`train --student bilstm`, bilstm-small, bilstm-22m or static"
        )
    if config.pooling == "mean" or (config.pooling == "learned" and config.kind == "static"):
        return
    why = {"idf": "belong to words", "learned": "depend on the sentence"}.get(config.pooling, "")
    raise ValueError(
        f"sentence-transformers cannot pool by {config.pooling} weights, which {why}: train a "
        "student with `train --student-pooling mean`"
    )


def _modules(student: Student, tokens: int) -> list[_Module]:
    check_expressible(student)
    encoder = student.encoder
    assert isinstance(encoder, (BiLstm, Static))
    table_VE = encoder.embedding.weight
    if student.rows is not None:
        table_VE = table_VE[student.rows.long()]  # tokens that share a vector have it each
    if student.config.pooling == "mean" and isinstance(encoder, Static):
        kind = f"{_MODULES}static_embedding.StaticEmbedding"
        return [_Module(kind, {}, {"embedding.weight": table_VE}), _dense(student)]
    inner = _lstm(encoder) if isinstance(encoder, BiLstm) else _weights(student, table_VE)
    return [_words(table_VE, tokens), inner, _mean(student.config.states), _dense(student)]


def _words(table_VE: torch.Tensor, tokens: int) -> _Module:
    config = {
        "tokenizer_class": _MODULES + _WORDS,
        "update_embeddings": False,
        "max_seq_length": tokens,
    }
    kind = f"{_MODULES}word_embeddings.WordEmbeddings"
    return _Module(kind, config, {"emb_layer.weight": table_VE}, "wordembedding_config.json")


def _lstm(encoder: BiLstm) -> _Module:
    """Two one-way LSTMs as one of two ways."""
    ahead, back = encoder.forwards.state_dict(), encoder.backwards.state_dict()
    tensors = {f"encoder.{name}": one for name, one in ahead.items()}
    tensors |= {f"encoder.{name}_reverse": one for name, one in back.items()}
    config = {
        "embedding_dimension": encoder.forwards.input_size,
        "hidden_dim": encoder.forwards.hidden_size,
        "num_layers": 1,
        "dropout": 0,
        "bidirectional": True,
    }
    return _Module(f"{_MODULES}lstm.LSTM", config, tensors, "lstm_config.json")


def _weights(student: Student, table_VE: torch.Tensor) -> _Module:
    """Of each token: without context a learned weight is the same in all sentences."""
    assert student.weigher is not None
    weights_V = functional.softplus(student.weigher(table_VE)[:, 0]).tolist()
    vocabulary = [str(one) for one in range(len(weights_V))]
    config = {
        "vocab": vocabulary,
        "word_weights": dict(zip(vocabulary, weights_V, strict=True)),
        "unknown_word_weight": 1.0,
    }
    return _Module(f"{_MODULES}word_weights.WordWeights", config, {})


def _mean(states: int) -> _Module:
    config = {"embedding_dimension": states, "pooling_mode": "mean", "include_prompt": True}
    return _Module(f"{_MODULES}pooling.Pooling", config, {})


def _dense(student: Student) -> _Module:
    """From pooled states [S] to the teacher's space [H]; no tokens at all give the mean vector."""
    shape = student.config
    projection_HS = (
        torch.eye(shape.width) if student.projection is None else student.projection.weight
    )
    config = {
        "in_features": shape.states,
        "out_features": shape.width,
        "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
        "module_input_name": "sentence_embedding",
        "module_output_name": "sentence_embedding",
    }
    tensors = {"linear.weight": student.scale * projection_HS, "linear.bias": student.offset}
    return _Module("sentence_transformers.base.modules.dense.Dense", config, tensors)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
