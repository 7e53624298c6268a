"""The parameters of the flex templates, from the flags of the jobs: writes idf.json, teacher.json.

python deploy/dataflow/metadata.py
"""

import ast
import dataclasses
import importlib
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

from launch import CONFIGS, fields_of

# Beam's own that have no flag in `gcloud dataflow flex-template run`.
OPTIONS = {
    "sdk_container_image": "Image of the workers: the one that this template was built from.",
    "sdk_location": "container: Beam is in the image.",
    "dataflow_service_options": "worker_accelerator=type:...;count:1;install-nvidia-driver",
    "experiments": "no_use_multiple_sdk_containers: one process and one teacher a worker.",
    "number_of_worker_harness_threads": "Threads of a worker's process.",
    "disk_size_gb": "Of a worker; the image alone takes 15.",
}
_REGEXES = {bool: "true|false", int: "[0-9]+", float: "[0-9]+([.][0-9]+)?"}


def metadata(job: str) -> dict[str, Any]:
    """What Dataflow is told of a template."""
    module = importlib.import_module(f"pipelines.{job}")
    config = getattr(module, CONFIGS[job])
    helps = _helps(inspect.getsource(config))
    own = [{"name": "job", "label": "job", "helpText": f"Always {job}.", "regexes": [job]}]
    for field in fields_of(job).values():
        about = {"name": field.name, "label": field.name.replace("_", " ")}
        about |= {"helpText": helps[field.name], "isOptional": _has_default(field)}
        if field.type in _REGEXES:
            about["regexes"] = [_REGEXES[field.type]]
        own.append(about)
    beams = [
        {"name": name, "label": name.replace("_", " "), "helpText": text, "isOptional": True}
        for name, text in OPTIONS.items()
    ]
    description = " ".join((config.__doc__ or "").split())
    return {"name": f"LTD-BERT: {job}", "description": description, "parameters": own + beams}


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING


def _helps(source: str) -> dict[str, str]:
    """Field -> the string below it, which is what --help shows."""
    (found,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(found, ast.ClassDef)
    helps = {}
    for above, below in zip(found.body, found.body[1:], strict=False):
        if isinstance(above, ast.AnnAssign) and isinstance(below, ast.Expr):
            helps[ast.unparse(above.target)] = " ".join(ast.literal_eval(below.value).split())
    return helps


if __name__ == "__main__":
    for name in CONFIGS:
        text = json.dumps(metadata(name), indent=2, ensure_ascii=False)
        (Path(__file__).parent / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
