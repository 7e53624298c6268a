"""The projection of a store: its own, or, before its first run, one fitted to a sample."""

import json
from typing import TYPE_CHECKING

from pipelines.embedding import embed, first_unusable, token_budget
from pipelines.plan import probe
from pipelines.reading import Inputs
from schemas import parts, store
from schemas.fingerprint import Fingerprint, digest
from schemas.projection import Projection, digest_of, load, projection_folder, save

if TYPE_CHECKING:
    from pipelines.teacher import TeacherConfig
    from pipelines.teacher_steps import Tools

SAMPLE = 8192  # sentences


def projected(
    config: "TeacherConfig", tools: "Tools", inputs: Inputs, conditions: Fingerprint
) -> dict[str, str]:
    """What the projection adds to a store's fingerprint; the projection is beside the store then.

    Args:
        config: says how many principal components are wanted.
        tools: the teacher and what prepares its sentences.
        inputs: the corpus; a new store's projection is fitted to a sample of it.
        conditions: the rest of the fingerprint.

    Returns:
        Its digest under ``projection``; nothing without ``--pca``.

    Raises:
        ValueError: if the store has another number of components, or none can be fitted.
    """
    if store.exists(config.out):
        made_by = store.open_store(config.out).fingerprint.get("projection")
        held = load(projection_folder(config.out, made_by)) if made_by else {}
        _check_size(config, next((one.size for one in held.values()), 0))
        return {"projection": made_by} if made_by else {}
    return {"projection": _first(config, tools, inputs, conditions)} if config.pca else {}


def _first(config: "TeacherConfig", tools: "Tools", inputs: Inputs, conditions: Fingerprint) -> str:
    """Digest of a new store's projections: fitted now, or by an earlier try of this first run."""
    if config.pca >= tools.files.width:
        raise ValueError(
            f"pca must be below the width of the teacher's vectors, {tools.files.width}, "
            f"got {config.pca}"
        )
    # Fitting again would not give the same bits where threads or batches differ. So a first run
    # that was killed and is started again finds by this name what it fitted, and goes on with it.
    name = f"first-{digest([conditions, inputs.identity, config.fields, config.pca])}.json"
    beside = projection_folder(config.out, name)
    if parts.exists(beside):
        return str(json.loads(parts.read_bytes(beside))["projection"])
    parts.check_writable(config.out)
    parts.tidy(config.out)
    fitted = fit(config, tools, inputs)
    made = digest_of(fitted)
    save(fitted, projection_folder(config.out, made))
    root = beside.rpartition("/")[0]
    parts.write_bytes(json.dumps({"projection": made}).encode(), root, name)
    parts.tidy(root)
    return made


def fit(config: "TeacherConfig", tools: "Tools", inputs: Inputs) -> dict[str, Projection]:
    """Embed up to 8,192 sentences spread over the corpus, here, and find their components.

    Raises:
        ValueError: if there are too few sentences, or the teacher gives an unusable vector.
    """
    texts = list(dict.fromkeys(probe(inputs.ranges, SAMPLE)))
    prepared = [one for one in tools.preparer().prepare(texts) if one.weights.any()]
    if len(prepared) <= config.pca:
        raise ValueError(
            f"{config.pca} principal components cannot be fitted to {len(prepared)} sentences: "
            "begin the store with a larger corpus, or a smaller --pca"
        )
    teacher = tools.load_teacher()
    ids, weights = [one.token_ids for one in prepared], [one.weights for one in prepared]
    budget = token_budget(teacher, config.token_budget)
    found = {}
    for pooling, vectors in embed(teacher, ids, weights, config.pooling, budget).vectors.items():
        bad = first_unusable(vectors)
        if bad is not None:
            raise ValueError(f"the teacher gives no usable {pooling} vector: {prepared[bad].text}")
        found[pooling] = Projection.fit(vectors, config.pca)
    return found


def _check_size(config: "TeacherConfig", size: int) -> None:
    """Refuse another number of components than the store's; 0 stands for whole vectors."""
    if config.pca != size:
        has = f"{size} principal components of each vector" if size else "whole vectors"
        raise ValueError(
            f"{config.out} holds {has} (--pca {size}), asked for was --pca {config.pca}; "
            "another number needs a new store"
        )
