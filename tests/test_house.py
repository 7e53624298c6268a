"""The house rules that a machine can check: who may import whom, what nobody may call, sizes."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "pipelines", "distill_jobs")
MAY_IMPORT = {
    "schemas": {"numpy", "pyarrow", "deltalake", "jieba", "rjieba", "tokenizers", "tyro"},
    "pipelines": {
        *("schemas", "apache_beam", "torch", "transformers", "tokenizers", "safetensors"),
        *("huggingface_hub", "numpy", "pyarrow", "tqdm", "tyro"),
        *("openlineage", "prometheus_client"),
    },
    "distill_jobs": {
        *("schemas", "ray", "torch", "safetensors", "numpy", "pyarrow", "scipy", "sklearn"),
        *("threadpoolctl", "tokenizers", "transformers", "onnx", "onnxruntime"),
        *("matplotlib", "jinja2", "tensorboardX", "tqdm", "tyro", "sentence_transformers"),
    },
}
# What runs code, or may run code, from a file that somebody else wrote.
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"torch.load", "yaml.load", "yaml.unsafe_load", "numpy.load", "np.load"}
TOP_LEVEL = {"schemas", "pipelines", "distill_jobs", "deploy", "docs", "tests", ".ci", ".github"}
MAX_LINES = 300


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


def dotted(node: ast.expr) -> str:
    """A call's function as it is written: torch.load."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def tracked() -> list[str]:
    """Files in git, and those that will be: not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package):
    allowed = MAY_IMPORT[package] | {package} | sys.stdlib_module_names
    strays = {name_of(path): imported(path) - allowed for path in sources(package)}
    assert {name: strange for name, strange in strays.items() if strange} == {}


def test_pipelines_and_distill_jobs_never_import_each_other():
    assert not any("distill_jobs" in imported(path) for path in sources("pipelines"))
    assert not any("pipelines" in imported(path) for path in sources("distill_jobs"))
    assert not any({"pipelines", "distill_jobs"} & imported(path) for path in sources("schemas"))


def test_nothing_is_loaded_that_can_run_code():
    found = []
    for path in sources(*PACKAGES, "deploy", "tests"):
        if strange := imported(path) & FORBIDDEN_MODULES:
            found.append(f"{name_of(path)} imports {sorted(strange)}")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                if dotted(node.func) in FORBIDDEN_CALLS:
                    found.append(f"{name_of(path)}:{node.lineno} calls {dotted(node.func)}")
                found += [
                    f"{name_of(path)}:{node.lineno} {word.arg} may be true"
                    for word in node.keywords
                    if word.arg in ("trust_remote_code", "allow_pickle")
                    and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                ]
    assert found == []


def modules_after(code: str) -> set[str]:
    """Top-level modules of a fresh process that ran the code."""
    report = "import sys; print(' '.join({name.split('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_opening_a_store_loads_no_beam_no_ray_and_no_torch(small_store):
    code = f"from schemas.store import open_store; open_store({str(small_store)!r}).verify()"
    assert {"apache_beam", "ray", "transformers", "torch"} & modules_after(code) == set()


def test_importing_the_encoder_loads_no_beam_no_ray_no_transformers_no_torch_and_no_jieba():
    heavy = {"apache_beam", "ray", "transformers", "torch", "jieba", "rjieba"}
    assert heavy & modules_after("import distill_jobs.encoder") == set()


def test_the_top_level_folders_are_the_known_ones():
    folders = {name.split("/")[0] for name in tracked() if "/" in name}
    assert folders <= TOP_LEVEL
    assert {*PACKAGES, "deploy", "docs", "tests"} <= folders


def test_the_readme_s_file_tree_names_every_source_file_and_no_other():
    readme = ROOT / "README.md"
    if not readme.is_file():
        pytest.xfail("README.md is not written yet")
    block = re.search(
        r"^#+ [^\n]*tree[^\n]*\n.*?```[a-z]*\n(.*?)```",
        readme.read_text("utf-8"),
        re.DOTALL | re.MULTILINE | re.IGNORECASE,
    )
    assert block, "README.md has no code block under a heading with the word tree"
    named, folders = set(), []
    for line in block.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        words = re.findall(r"[\w./-]+", line)
        if words[0].endswith("/"):
            folders[depth:] = [words[0].rstrip("/")]
        elif words[0].endswith(".py"):
            named.add("/".join([*folders[:depth], words[0]]))
    actual = {name_of(path) for path in sources(*PACKAGES)}
    assert {name for name in named if name.split("/")[0] in PACKAGES} == actual


@pytest.mark.parametrize("folder", [*PACKAGES, "tests"])
def test_no_source_file_is_long(folder):
    lengths = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in sources(folder)}
    limit = MAX_LINES if folder in PACKAGES else 2 * MAX_LINES
    assert {name: lines for name, lines in lengths.items() if lines > limit} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_says_what_it_is(package):
    silent = [
        name_of(path)
        for path in sources(package)
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)))


@pytest.mark.parametrize(
    ("name", "least"), [("torch", "2.10"), ("transformers", "5.3"), ("ray", "2.60")]
)
def test_dependencies_with_known_holes_have_a_floor_above_them(name, least):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (asked,) = [d for d in project["dependencies"] if re.match(rf"{name}(\[|[<>=~])", d)]
    floor = re.search(r">=\s*([\d.]+)", asked)
    assert floor, f"{asked} has no floor"
    assert version(floor.group(1)) >= version(least)
