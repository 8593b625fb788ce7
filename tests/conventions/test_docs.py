"""What the documents say is what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import reference, reference_dialects
from tunesmith.domain import errors
from tunesmith.settings import Settings
from tunesmith.wire.json_body import Request

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NOT_IN_THE_TREE = {"assets", "__pycache__"}


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_reference_page_says_what_the_code_says(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == reference.PAGES[name](), "Run `python -m scripts.reference`."


@pytest.mark.parametrize("name", reference_dialects.DIALECTS)
def test_the_page_on_a_dialect_names_every_field_of_every_request(name: str) -> None:
    page = reference.PAGES[name]()
    package = reference_dialects.DIALECTS[name].module.__name__
    named = {
        path.rsplit(".", 1)[-1] for path in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    }
    kinds = [kind for kind in _subclasses(Request) if kind.__module__.startswith(f"{package}.")]
    assert kinds
    for kind in kinds:
        fields = {field.alias or name for name, field in kind.model_fields.items()}
        assert {*fields, *kind.UNAVAILABLE, *kind.IGNORED} - named == set(), kind


def _subclasses(kind: type[Request]) -> Iterator[type[Request]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_description_that_is_a_sentence(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_the_error_tree_is_drawn_where_it_is_defined() -> None:
    kinds = [value for value in vars(errors).values() if _is_error(value)]
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in kinds if kind.__name__ not in drawn] == []


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"`((?:tunesmith|tests|scripts|docs|examples)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"TUNESMITH_[A-Z0-9_]+[A-Z0-9]", page.read_text()))
    known = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
    assert (
        named
        - known
        - {"TUNESMITH_TEST_DATABASE_URL", "TUNESMITH_TEST_DATA", "TUNESMITH_TEST_BROWSER"}
        == set()
    )


def test_the_tree_in_the_readme_shows_the_folders_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text()
    (tree,) = re.findall(r"```\n(tunesmith/\n.*?)```", readme, re.DOTALL)
    named = {name.rstrip("/") for name in re.findall(r"(?:^|\s{2,})([\w.]+/|\w+\.py)(?=\s)", tree)}
    package = {
        path.name
        for path in (ROOT / "tunesmith").iterdir()
        if path.is_dir() and path.name not in NOT_IN_THE_TREE
    }
    assert package - named == set()
    assert [
        name
        for name in named
        if not (ROOT / name).exists() and not (ROOT / "tunesmith" / name).exists()
    ] == []


def test_every_ignored_field_has_its_reason_and_no_other_has() -> None:
    kinds = [
        kind for name in reference_dialects.DIALECTS for kind in reference_dialects.requests(name)
    ]
    assert {field for kind in kinds for field in kind.IGNORED} == set(
        reference_dialects.WHY_IGNORED
    )
    for name in reference_dialects.DIALECTS:
        page = reference_dialects.page(name)
        assert not [line for line in page.splitlines() if line.endswith("| ignored | |")]
