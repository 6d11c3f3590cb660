"""The table of arguments that name weights has all that sd-scripts' own parsers have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from loragit.trainers.sd_scripts.weights import WEIGHTS

WORDS = re.compile(
    r"model|weight|path|director|encoder|tokenizer|checkpoint|\bvae\b|\bstate\b|"
    r"(?:^|_)(?:ae|clip|t5\w*|gemma\w*|qwen\w*|byt5)(?:_|$)"
)
OTHERS = {
    # where things are written and sent, and the data
    *("output_dir", "logging_dir", "train_data_dir", "reg_data_dir", "conditioning_data_dir"),
    *("tokenizer_cache_dir", "log_tracker_config", "log_prefix", "huggingface_path_in_repo"),
    *("offload_optimizer_nvme_path", "offload_param_nvme_path"),
    # words about the model, and how it is trained
    *("output_name", "token_string", "optimizer_args", "t5xxl_device", "t5xxl_dtype"),
}


def arguments(source: Path) -> Iterator[tuple[str, str]]:
    """Name and help of each argument in ``source`` that takes any text."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr != "add_argument" or not isinstance(node.args[0], ast.Constant):
                continue
            given = {word.arg: word.value for word in node.keywords}
            kind = given.get("type")
            if "action" in given or "choices" in given:
                continue
            if kind is None or (isinstance(kind, ast.Name) and kind.id == "str"):
                about = given.get("help")
                told = ast.unparse(about) if about is not None else ""
                yield str(node.args[0].value).removeprefix("--"), told.partition(" / ")[0]


def test_every_argument_that_names_weights_is_in_the_table(sd_scripts: Path) -> None:
    scripts = [*sd_scripts.glob("*train*.py"), sd_scripts / "fine_tune.py"]
    library = [
        path
        for path in (sd_scripts / "library").glob("*util*.py")
        if not re.search(r"huggingface|autoencoder", path.name)
    ]
    found = dict(each for path in [*scripts, *library] for each in arguments(path))
    assert len(found) > 50
    assert WEIGHTS.keys() <= found.keys()
    suspects = {name for name, told in found.items() if WORDS.search(f"{name} {told}")}
    metadata = {name for name in suspects if name.startswith(("metadata_", "caption_"))}
    assert suspects - metadata - OTHERS <= WEIGHTS.keys()
