"""Write docs/configuration.md from the package's own settings: run it after changing config.py."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from blemish.config import InspectorConfig, Section, preset
from blemish.presets import PRESETS

PAGE = Path(__file__).with_name("configuration.md")
INTRODUCTION = """\
# Configuration

<!-- Written by docs/make_configuration.py. Change src/blemish/config.py and run it again. -->

A preset is a full set of settings: `fast` (the default of the command line) trains on a processor,
`base` is larger, `paper` is DiffusionAD as published. Anything may be laid over it:

* a YAML file of sections: `blemish train DATA --out RUN --config mine.yaml`
* single settings: `blemish train DATA --out RUN --set data.framing=tiles --set training.seed=3`
* in Python: `blemish.preset("fast", {"data": {"framing": "tiles"}})`

The order is preset, file, `--set`, short options such as `--seed`; the later wins. A name that does not
exist or a value out of range is an error. Every run keeps its full settings in `config.yaml`.

Values are written as in YAML; **bold** ones differ from `paper`.
"""
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "multiple of {}",
}
KINDS = {"integer": "whole number", "number": "number", "string": "text", "null": "null"}


def meanings(section: type[BaseModel]) -> dict[str, str]:
    """Return what the section's docstring says about each setting: `name: meaning. other: meaning.`."""
    text = " ".join((inspect.getdoc(section) or "").split())
    name = "|".join(section.model_fields)
    entry = rf"(?:(?<=[.;] )|^)((?:{name})(?:, (?:{name}))*): "
    parts = re.split(entry, text)[1:]
    return {
        setting: meaning.strip()
        for names, meaning in zip(parts[::2], parts[1::2], strict=True)
        for setting in names.split(", ")
    }


def allowed(schema: dict[str, Any]) -> str:
    """Return the values that a setting's JSON schema admits, in words."""
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} values: {allowed(schema['prefixItems'][0])}"
    kind = schema["type"]
    if kind == "array":
        return f"list of: {allowed(schema['items'])}"
    if kind == "boolean":
        return "`true`, `false`"
    if schema.get("format") == "path":
        return "path"
    bounds = [words.format(schema[key]) for key, words in BOUNDS.items() if key in schema]
    return ", ".join([KINDS[kind], *bounds])


def rows(name: str, section: type[BaseModel]) -> Iterator[str]:
    """Yield the lines of one section's table."""
    told = meanings(section)
    schemas = section.model_json_schema()["properties"]
    given = {p: preset(p).model_dump(mode="json")[name] for p in PRESETS}
    yield f"| setting | {' | '.join(f'`{p}`' for p in PRESETS)} | allowed | meaning |"
    yield "|---" * (len(PRESETS) + 3) + "|"
    for setting in section.model_fields:
        words = {p: json.dumps(values[setting]) for p, values in given.items()}
        cells = [w if w == words["paper"] else f"**{w}**" for w in words.values()]
        limits = allowed(schemas[setting])
        yield f"| `{name}.{setting}` | {' | '.join(cells)} | {limits} | {told[setting]} |"


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for name, field in InspectorConfig.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            title = (inspect.getdoc(section) or "").splitlines()[0]
            title = title.partition(" false_alarm_rate:")[0]
            parts.append(f"## {name}\n\n{title}\n\n" + "\n".join(rows(name, section)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
