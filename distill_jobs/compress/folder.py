"""What every verb does around its own work: export folder -> student -> changed -> export folder.

config.json, README.md    the old ones with what is new: `compressed`, a list of the steps
model.*                   the weights, written anew
the others                copied: the tokenizer, and the IDF table where there is one
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import onnx

from distill_jobs import checkpoint, targets
from distill_jobs.backends import FILES, open_onnx
from distill_jobs.compress.fidelity import likeness, random_sentences, vectors_by, vectors_of
from distill_jobs.compress.source import Compression, Source
from distill_jobs.encoder import read_card
from distill_jobs.export import unknown_rate
from distill_jobs.export_folder import aside, copy_preparer, held, load_student, pin_store
from distill_jobs.model_card import model_card
from distill_jobs.onnx_export import compare_with_torch, write_onnx
from distill_jobs.student import Student, parameters
from schemas.fingerprint import digest, file_digest, seal
from schemas.idf import IdfTable
from schemas.weights import Floats

_LAST = ("bits", "static-int8")  # after them there are no weights in float32


class Changed(NamedTuple):
    """What a verb made of a student.

    Attributes:
        student: smaller; or as it was, if there is a graph.
        facts: for the report.
        graph: what is served instead of a student in float32.
        back_KH: where the vectors became shorter, what leads back.
    """

    student: Student
    facts: Mapping[str, object]
    graph: onnx.ModelProto | None = None
    back_KH: Floats | None = None


def compress(
    config: Compression, verb: str, change: Callable[[Source], Changed]
) -> dict[str, object]:
    """Do one step of compression, from folder to folder.

    Args:
        config: of the verb; all of it but the folders is kept in the card.
        verb: its name.
        change: what it does.

    Returns:
        The step as the card keeps it; ``store_pinned``; ``reused`` if the folder held this very
        result already.

    Raises:
        FileExistsError: if the folder to create holds something else.
        FileNotFoundError: if a file is not there.
        ValueError: if the student cannot be compressed so, or what the folder held has changed.
    """
    card = read_card(config.student)
    done = [one["verb"] for one in card.get("compressed", []) if one["verb"] in _LAST]
    if done:
        raise ValueError(
            f"{config.student} was compressed by {done[0]}, which must be the last step: "
            "compress the student that it was made from"
        )
    settings = _settings(config)
    name = digest([card["export_id"], verb, settings])
    found = held(config.out, name)
    if found is not None:
        step = found["compressed"][-1]
    else:
        source = Source(config.student, card, load_student(config.student, card), config.sentences)
        with aside(config.out) as folder:
            about = {"id": name, "verb": verb, "settings": settings}
            step = _fill(folder, source, change(source), about)
    # Again where it was found: a run may have ended between its last two acts.
    pinned = pin_store(str(card["store"]), card["store_version"], config.out)
    return {**step, "store_pinned": pinned, "reused": found is not None}


def _settings(config: Compression) -> dict[str, object]:
    """What the config says besides the folders; of sentences and IDF table their digests."""
    given = dataclasses.asdict(config)
    del given["student"], given["out"]
    if config.sentences is not None:
        given["sentences"] = file_digest(config.sentences)
    if given.get("idf") is not None:
        given["idf"] = IdfTable.load(given["idf"]).digest()
    return {name: value for name, value in given.items() if value is not None}


def _fill(
    folder: Path, source: Source, changed: Changed, about: Mapping[str, object]
) -> dict[str, object]:
    """Write all files; returns the step with what was measured.

    Args:
        folder: to fill.
        source: what was compressed.
        changed: what became of it.
        about: id, verb and settings of the step.
    """
    copy_preparer(source.folder, folder)
    # Shorter vectors are no longer those that the map leads to.
    mapped = "target_sha256" in source.card and changed.back_KH is None
    if mapped:
        shutil.copy(source.folder / targets.FILE, folder / targets.FILE)
    weights = _write_weights(folder, source, changed)
    shape = changed.student.config
    step = {**about, **changed.facts, **_compared(folder, source, changed)}
    left_out = ("digest",) if mapped else ("digest", "target_sha256")
    card = seal(
        {
            **{name: value for name, value in source.card.items() if name not in left_out},
            **weights,
            "export_id": step.pop("id"),
            "student_config": dataclasses.asdict(shape),
            "hidden": shape.width,
            "parameters": parameters(changed.student),
            "unknown_rate": _unknown_rate(source, changed),
            "compressed": [*source.card.get("compressed", []), step],
        }
    )
    text = json.dumps(card, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(model_card(card), encoding="utf-8")
    return step


def _unknown_rate(source: Source, changed: Changed) -> object:
    """On the sentences, or else as the verb or the card says."""
    if source.path is not None:
        return unknown_rate(changed.student, source.sentences.measured)
    return changed.facts.get("unknown_rate", source.card.get("unknown_rate", 0.0))


def _write_weights(folder: Path, source: Source, changed: Changed) -> dict[str, object]:
    """Write the model's files; returns what the card says of them."""
    given = source.path is not None
    batches = source.sentences.measured if given else random_sentences(changed.student.config)
    if changed.graph is not None:
        path = folder / FILES["onnx"]
        onnx.save(changed.graph, path)
        facts = compare_with_torch(changed.student, path, batches)
        return {"backends": {"onnx": facts}, "file_bytes": path.stat().st_size}
    weights = folder / FILES["torch"]
    checkpoint.save_tensors(changed.student.state_dict(), weights)
    backends = write_onnx(changed.student, folder, batches)
    size = weights.stat().st_size
    return {"backends": backends, "sha256": file_digest(weights), "file_bytes": size}


def _compared(folder: Path, source: Source, changed: Changed) -> dict[str, object]:
    """Bytes and parameters, before and after, and how alike the vectors are."""
    found: dict[str, object] = {
        "bytes_before": _bytes(source.folder),
        "bytes_after": _bytes(folder),
        "parameters_before": parameters(source.student),
        "parameters_after": parameters(changed.student),
    }
    if source.path is None:
        return found
    batches = source.sentences.measured
    if changed.graph is None:
        after = vectors_of(changed.student, batches)
    else:
        after = vectors_by(open_onnx(folder / FILES["onnx"]), batches)
    offsets = source.student.offset.numpy(), changed.student.offset.numpy()
    before = vectors_of(source.student, batches)
    return found | likeness(before, after, offsets, changed.back_KH)


def _bytes(folder: Path) -> dict[str, int]:
    paths = [folder / name for name in sorted(FILES.values())]
    return {path.name: path.stat().st_size for path in paths if path.is_file()}
