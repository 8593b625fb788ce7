"""An OpenAPI document of ours against our own server, by a program that tries to prove it wrong."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.environments import environment, python_with

VERSION = "4.32.5"
SEED = 20260821
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)

Things = Mapping[str, list[str]]  # what there is, by the names under which a document asks for it


def num_requests_passed(
    document: dict[str, Any],
    things: Things,
    url: str,
    headers: Mapping[str, str],
    *,
    folder: Path,
    examples_per_route: int,
) -> int:
    """How many requests were made up and answered as the document says; fails if one was not."""
    python = python_with(f"schemathesis-{VERSION}", f"schemathesis=={VERSION}")
    path, report = folder / "openapi.json", folder / "report.json"
    path.write_text(json.dumps(_with_names(document, things)))
    options = {
        "--url": url,
        "--checks": ",".join(CHECKS),
        "--max-examples": str(examples_per_route),
        "--seed": str(SEED),
        "--request-timeout": "60",  # some routes begin a process, which loads a tokenizer
        "--generation-database": "none",
        "--suppress-health-check": "filter_too_much",  # of names, all with a slash are filtered out
        "--warnings": "off",
        "--report-json-path": str(report),
    }
    command = [python.parent / "st", "run", path, "--no-color", "--continue-on-failure"]
    sent = (word for pair in headers.items() for word in ("--header", ": ".join(pair)))
    words = (word for option in options.items() for word in option)
    done = subprocess.run([*command, *sent, *words], cwd=folder, env=environment())
    assert done.returncode == 0
    return int(json.loads(report.read_text())["test_cases"]["generated"])


def _with_names(value: Any, names: Things) -> Any:
    """The document, where a name may also be that of something that there is."""
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if "in" in value and "schema" in value and value["name"] in names:
        return {**value, "schema": _either(value["schema"], names[value["name"]])}
    properties = value.get("properties", {})
    known = {name: _either(properties[name], names[name]) for name in properties if name in names}
    inner = {  # but in graders, where schemathesis could not tell what is none of them
        key: item if key.endswith("Grader") else _with_names(item, names)
        for key, item in value.items()
    }
    return {**inner, "properties": {**inner["properties"], **known}} if known else inner


def _either(schema: Any, names: list[str]) -> Any:
    return {"anyOf": [{"enum": names}, schema]} if schema.get("type") == "string" else schema
