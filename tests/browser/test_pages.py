"""Every page: for everybody, in both themes, on a phone, by keyboard, and with very many jobs."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import BASE, SignIn, playwright
from tests.e2e.service import Service, wait_for_job
from tests.factories import NOW, job
from tunesmith.domain.jobs import JobStatus
from tunesmith.store.database import Database

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs `pip install axe-playwright-python`"
)
expect = playwright.expect
SEVERE = ("serious", "critical")
NUM_JOBS = 10_000
OWN = ("one", "two")


@pytest.fixture(scope="module")
def pages(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each page's address, with something to see on it."""
    good = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    row = '{"messages": [{"role": "user", "content": "%d"}, {"role": "assistant", "content": "b"}]}'
    good.write_text("\n".join(row % number for number in range(12)))
    bad = good.with_name("bad.jsonl")
    bad.write_text(good.read_text() + '\n{"messages": []}')
    client = service.client
    files = [client.files.create(file=path, purpose="fine-tune") for path in (good, bad)]
    done = client.fine_tuning.jobs.create(model=BASE, training_file=files[0].id, suffix=OWN[0])
    failed = client.fine_tuning.jobs.create(model=BASE, training_file=files[1].id, suffix=OWN[1])
    wait_for_job(service, done.id)
    wait_for_job(service, failed.id, "failed")
    with service.http as http:
        jobs = http.get("/api/v1/fine-tuning/jobs").json()["jobs"]
        dataset = http.get("/api/v1/datasets").json()["datasets"][0]["id"]
    of_name = {job["name"]: job["id"] for job in jobs}
    one, two = (of_name[name] for name in OWN)
    tabs = ("checkpoints", "events", "log", "settings", "files")
    return {
        "jobs": "#/jobs",
        "new": f"#/new?from={one}",
        "job": f"#/jobs/{one}",
        **{tab: f"#/jobs/{one}?tab={tab}" for tab in tabs},
        "failed": f"#/jobs/{two}",
        "compare": f"#/compare?jobs={one},{two}",
        "datasets": "#/datasets",
        "dataset": f"#/datasets/{dataset}",
        "learned": f"#/datasets/{dataset}?view=tokens",
        "models": "#/models",
        "playground": "#/playground",
        "hardware": "#/hardware",
        "keys": "#/keys",
        "nowhere": "#/nowhere",
    }


def visit(page: Any, service: Service, address: str) -> None:
    page.goto(f"{service.url}/{address}")
    expect(page.locator("main h1")).to_be_visible()
    expect(page.locator(".skeleton")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_keeps_anybody_out(
    signed_in: SignIn, service: Service, pages: dict[str, str], theme: str
) -> None:
    page = signed_in()
    page.get_by_label("Theme").select_option(theme)
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    found = []
    for name, address in pages.items():
        visit(page, service, address)
        result = axe.Axe().run(page).response
        found += [
            (name, one["id"], [node["target"] for node in one["nodes"]][:3])
            for one in result["violations"]
            if one["impact"] in SEVERE
        ]
    assert found == []


def test_whoever_is_not_signed_in_is_kept_out_by_nothing_but_the_key(
    context: Any, service: Service
) -> None:
    page = context.new_page()
    page.goto(service.url)
    expect(page.get_by_role("heading", name="Sign in to Tunesmith")).to_be_visible()
    violations = axe.Axe().run(page).response["violations"]
    assert [one["id"] for one in violations if one["impact"] in SEVERE] == []


def test_every_page_fits_a_phone(
    signed_in: SignIn, service: Service, pages: dict[str, str]
) -> None:
    page = signed_in()
    page.set_viewport_size({"width": 360, "height": 740})
    too_wide = []
    for name, address in pages.items():
        visit(page, service, address)
        root = page.locator("html")
        width = root.evaluate("root => root.scrollWidth")
        too_wide += [(name, width)] if width > 360 else []
    assert too_wide == []


def test_the_keyboard_is_enough(signed_in: SignIn, service: Service, pages: dict[str, str]) -> None:
    page = signed_in()
    visit(page, service, pages["jobs"])
    page.keyboard.press("/")
    search = page.get_by_label("Search jobs")
    expect(search).to_be_focused()
    page.keyboard.type("one")
    expect(page.locator("table.jobs tbody tr")).to_have_count(1)
    assert "q=one" in page.url
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="New job")).to_be_focused()
    page.get_by_role("button", name="As curl").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    visit(page, service, pages["models"])
    page.reload()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_ten_thousand_jobs_are_searched_filtered_and_sorted(
    signed_in: SignIn, service: Service, pages: dict[str, str]
) -> None:
    service.stop()
    add_jobs(service.data_dir, NUM_JOBS)
    service.start()
    page = signed_in()
    rows = page.locator("table.jobs tbody tr")
    expect(page.locator(".pages")).to_contain_text(f"of {NUM_JOBS + len(OWN):,}")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".pages")).to_contain_text(re.compile("51.100 of"))
    page.get_by_role("button", name="Name").click()
    expect(rows.first).to_contain_text("two")
    page.get_by_role("button", name=re.compile("^Name")).click()
    expect(rows.first).to_contain_text("filler 00000")
    page.get_by_label("Search jobs").fill("filler 09999")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(page.get_by_role("heading", name="No job fits")).to_be_visible()
    page.get_by_role("button", name="Show all jobs").click()
    expect(rows).to_have_count(50)


def add_jobs(data_dir: Path, number: int) -> None:
    """Straight into the database, as nobody could wait for them otherwise."""
    database = Database(f"sqlite:///{data_dir / 'tunesmith.db'}")
    with database.write() as store:
        (owner, *_) = store.accounts.list_organizations()
        for place in range(number):
            store.jobs.add(
                job(
                    owner,
                    JobStatus.STOPPED,
                    name=f"filler {place:05}",
                    created_at=NOW + timedelta(seconds=place),
                )
            )
    database.close()
