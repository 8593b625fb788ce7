"""The dashboard's files: served with a strict policy, and vendored as they were published."""

import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tunesmith.dashboard import files as dashboard

VENDOR = dashboard.FOLDER / "vendor"
VENDORED = json.loads((VENDOR / "vendored.json").read_text())
OURS = sorted(p for p in dashboard.FOLDER.rglob("*.js") if VENDOR not in p.parents)


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=dashboard.routes()))


def test_what_is_vendored_is_listed_with_its_licence_and_is_as_it_was_published() -> None:
    listed = {name: digest for one in VENDORED for name, digest in one["files"].items()}
    there = {path.name for path in VENDOR.iterdir()} - {"vendored.json"}
    assert there == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    for one in VENDORED:
        assert one["licence"] in ("MIT", "Apache-2.0")
        assert one["licence_file"] in one["files"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", one["version"])


def test_nothing_in_the_page_runs_but_files_from_here(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", page.text)
    assert inline == [' type="importmap"']
    assert not re.search(r"\son\w+=|\sstyle=", page.text)


def test_every_import_of_the_page_leads_to_a_file(client: TestClient) -> None:
    page = client.get("/").text
    (imports,) = re.findall(r'<script type="importmap">(.*?)</script>', page, re.DOTALL)
    bare = json.loads(imports)["imports"]
    addresses = [*bare.values(), *re.findall(r'(?:src|href)="(dashboard/[^"]+)"', page)]
    for address in addresses:
        assert client.get(f"/{address.removeprefix('./')}").status_code == 200, address
    for path in OURS:
        for name in re.findall(r'from "([^"]+)"', path.read_text()):
            if name.startswith("."):
                assert (path.parent / name).is_file(), f"{path.name} imports {name}"
            else:
                assert name in bare, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", ["/", "/dashboard/main.js", "/dashboard/vendor/preact.mjs"])
def test_what_the_browser_has_already_is_not_sent_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_scripts_are_served_as_scripts(client: TestClient) -> None:
    def kind(answer: httpx.Response) -> str:
        return str(answer.headers["content-type"]).partition(";")[0]

    for path in dashboard.FOLDER.rglob("*"):
        if path.suffix in (".js", ".mjs"):
            found = client.get(f"/dashboard/{path.relative_to(dashboard.FOLDER)}")
            assert kind(found) in ("text/javascript", "application/javascript"), path


@pytest.mark.parametrize("path", ["/dashboard/", "/dashboard/../__init__.py", "/dashboard/no.js"])
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(dashboard.FOLDER)))
def test_no_module_is_long_or_makes_html_of_text(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for forbidden in ("innerHTML", "dangerouslySetInnerHTML", "eval(", "document.write"):
        assert forbidden not in text
