"""Sample prompts in TOML and JSON, as ``load_prompts`` of ``library/train_util.py`` reads them:
only at the first sample, hours into a training."""

from __future__ import annotations

_TOML = 'it reads [prompt], then [[prompt.subset]] with prompt = "…" for each picture'
_JSON = 'it reads ["a prompt --w 512", {"prompt": "another", "width": 512}]'


def prompts_problem(suffix: str, content: object) -> str | None:
    """Return why the trainer would stop at sample prompts, parsed; ``None`` where it would not.
    ``suffix`` is ``.toml`` or ``.json``."""
    if suffix == ".json":
        good = isinstance(content, list) and all(isinstance(e, (str, dict)) for e in content)
        return None if good else f"are no list of prompts: {_JSON}"
    prompt = content.get("prompt") if isinstance(content, dict) else None
    subsets = prompt.get("subset") if isinstance(prompt, dict) else None
    if not isinstance(prompt, dict) or not isinstance(subsets, list):
        return f"have no prompt.subset: {_TOML}"
    if not all(isinstance(each, dict) for each in subsets):
        return f"have a prompt.subset that is no table: {_TOML}"
    twice = next((key for each in subsets for key in each if key in prompt), None)
    if twice is not None:
        return f"say {twice} in [prompt] and in [[prompt.subset]], where only one may"
    return None
