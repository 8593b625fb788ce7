"""What containers are made and run from: whole as YAML, and naming only what there is."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.settings import Settings

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CHART = DEPLOY / "helm" / "tunesmith"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
SETTINGS = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
# Of compose, and read by nothing of ours.
CHOSEN_BY_THE_OPERATOR = {"TUNESMITH_WORKER_KEY"}


def rendered(template: Path) -> list[Any]:
    """As if every condition held, and every value were a word."""
    lines = [
        re.sub(r"\{\{.*?\}\}", "word", line)
        for line in template.read_text().splitlines()
        if not re.fullmatch(r"\s*\{\{-.*\}\}", line)
    ]
    return list(yaml.safe_load_all("\n".join(lines)))


def named_values(template: Path) -> list[str]:
    return re.findall(r"\.Values\.([\w.]+)", template.read_text())


def leaves(values: dict[str, Any], place: str = "") -> list[str]:
    """Such as `image.tag`."""
    found: list[str] = []
    for name, value in values.items():
        is_inner = isinstance(value, dict) and value
        found += leaves(value, f"{place}{name}.") if is_inner else [f"{place}{name}"]
    return found


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_whole_and_names_values_that_there_are(template: Path) -> None:
    for document in rendered(template):
        assert {"apiVersion", "kind", "metadata"} <= set(document)
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in named_values(template):
        found: Any = values
        for part in path.split("."):
            assert part in found, path
            found = found[part]


def test_every_value_is_used() -> None:
    used = {path for template in TEMPLATES for path in named_values(template)}
    unused = [
        path
        for path in leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
        if not any(path == each or path.startswith(f"{each}.") for each in used)
    ]
    assert unused == []


@pytest.mark.parametrize("template", ["server.yaml", "worker.yaml"])
def test_pods_run_without_privileges(template: str) -> None:
    pods = [d["spec"]["template"]["spec"] for d in rendered(CHART / "templates" / template)[-1:]]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_server_is_probed_where_it_answers() -> None:
    server = rendered(CHART / "templates" / "server.yaml")[-1]
    (container,) = server["spec"]["template"]["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_compose_starts_what_there_is() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"database", "server", "worker"}
    assert services["server"]["command"] == ["server"]
    assert services["worker"]["command"][0] == "worker"
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)


@pytest.mark.parametrize(
    "path", [p for p in DEPLOY.rglob("*") if p.is_file()], ids=lambda path: path.name
)
def test_only_settings_that_there_are_are_set(path: Path) -> None:
    named = set(re.findall(r"TUNESMITH_[A-Z0-9_]+[A-Z0-9]", path.read_text()))
    assert named - SETTINGS - CHOSEN_BY_THE_OPERATOR == set()


def test_the_image_runs_as_nobody_in_particular() -> None:
    instructions = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER 10001" in instructions
    assert instructions.index("USER 10001") < instructions.index('ENTRYPOINT ["tunesmith"]')
