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
from blemish.generator_config import GeneratorConfig
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
GENERATOR = """\
# Configuration of a generator

`blemish learn` takes `--config` and `--set` too; in Python, `GeneratorConfig` has the same sections.
What `masks`, `painting` and `quality` say can be changed afterwards, but a network paints only where it
has learned: `blemish generate ... --set painting.steps=20`.
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
    """Yield the lines of one section's table of presets."""
    given = {p: preset(p).model_dump(mode="json")[name] for p in PRESETS}
    yield from table(name, section, given, "paper")


def table(
    name: str, section: type[BaseModel], given: dict[str, dict[str, Any]], plain: str
) -> Iterator[str]:
    """Yield the lines of one section's table: a column of values for each of the given settings."""
    told = meanings(section)
    schemas = section.model_json_schema()["properties"]
    titles = (title if title == "default" else f"`{title}`" for title in given)
    yield f"| setting | {' | '.join(titles)} | allowed | meaning |"
    yield "|---" * (len(given) + 3) + "|"
    for setting in section.model_fields:
        words = {p: json.dumps(values[setting]) for p, values in given.items()}
        cells = [w if w == words[plain] else f"**{w}**" for w in words.values()]
        limits = allowed(schemas[setting])
        yield f"| `{name}.{setting}` | {' | '.join(cells)} | {limits} | {told[setting]} |"


def sections(config: type[Section]) -> Iterator[tuple[str, type[Section], str]]:
    """Yield the sections of a configuration: name, settings, title."""
    for name, field in config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            title = (inspect.getdoc(section) or "").splitlines()[0]
            yield name, section, title.partition(" false_alarm_rate:")[0]


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for name, section, title in sections(InspectorConfig):
        parts.append(f"## {name}\n\n{title}\n\n" + "\n".join(rows(name, section)) + "\n")
    parts.append(GENERATOR)
    for name, section, title in sections(GeneratorConfig):
        given = {"default": section().model_dump(mode="json")}
        lines = "\n".join(table(name, section, given, "default"))
        parts.append(f"## {name}\n\n{title}\n\n{lines}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
