"""``loragit settings [NAME]``: every effective value, and where it came from."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping

from loragit import console
from loragit.secrets import redact, rules
from loragit.settings.schema import ARGS
from loragit.settings.toml_text import ArgValue, toml_literal
from loragit.settings.values import SettingOrigin, Settings
from loragit.text import shown
from loragit.trainers.environment import pythons
from loragit.trainers.environment.pythons import PythonMissing

Scalar = str | int | float


def show(chosen: Settings, environ: Mapping[str, str], *, as_json: bool = False) -> None:
    """Print every effective value: lines of TOML with the source as a comment, or a JSON object by
    key. The trainer's Python, found with ``environ``, comes last."""
    origins = (*effective(chosen), _python_origin(chosen, environ))
    if as_json:
        document = {
            origin.key: {"value": json_value(origin), "source": origin.source} for origin in origins
        }
        console.write(json.dumps(document, indent=2) + "\n")
    else:
        console.columns(
            (f"{origin.key} = {origin.value}", f"# {origin.source}") for origin in origins
        )


def _python_origin(chosen: Settings, environ: Mapping[str, str]) -> SettingOrigin:
    """The Python that the settings lead to, and its environment; or why there is none."""
    try:
        python = pythons.find_python(chosen.trainer, environ)
    except PythonMissing as error:
        return SettingOrigin("python", toml_literal(""), shown(error.message))
    return SettingOrigin(
        "python",
        toml_literal(str(python)),
        shown(str(pythons.environment_prefix(python) or "in no environment")),
    )


def effective(chosen: Settings) -> tuple[SettingOrigin, ...]:
    """Every value in the order in which it is shown, its source on one line without control
    characters.

    Each makes a line of TOML, ``{key} = {value}  # {source}``, and all lines a TOML document.
    Secrets are redacted: an argument by its name, the words of an argument or of the launcher by
    their shape.
    """
    return tuple(
        origin._replace(value=_redacted_text(origin), source=shown(origin.source))
        for origin in chosen.origins
    )


def json_value(origin: SettingOrigin) -> object:
    """The value for JSON: a text, a number, true, false or a list of those. JSON has no ``nan``
    and ``inf``: they become TOML's words for them."""
    value = _value(origin)
    return [_finite(item) for item in value] if isinstance(value, tuple) else _finite(value)


def _value(origin: SettingOrigin) -> ArgValue:
    value: ArgValue | list[str | int | float] = tomllib.loads(f"value = {origin.value}")["value"]
    return tuple(value) if isinstance(value, list) else value


def _redacted_text(origin: SettingOrigin) -> str:
    if not origin.key.startswith((ARGS, "trainer.launcher")):
        return origin.value
    if rules.is_secret_name(origin.key.removeprefix(ARGS).strip('"')):
        return toml_literal(rules.MASK)
    value = _value(origin)
    return toml_literal(tuple(map(_redact, value)) if isinstance(value, tuple) else _redact(value))


def _redact(value: Scalar) -> Scalar:
    return (
        redact.redact_all(value.encode()).decode("utf-8", "replace")
        if isinstance(value, str)
        else value
    )


def _finite(value: Scalar) -> Scalar:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
