"""What people do with the dashboard, from dropping a file to talking with what it became."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.conftest import ADMIN_KEY, BASE, SignIn, Watch, playwright
from tests.e2e.service import Service

expect = playwright.expect
Rows = Callable[..., Path]

# The browser makes a file of what it is told, and lets go of it over the element.
DROP = """(zone, [name, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name, {type: "application/jsonl"}));
  for (const kind of ["dragover", "drop"]) {
    zone.dispatchEvent(
      new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""


def drop(page: Any, file: Path) -> None:
    page.locator(".drop").first.evaluate(DROP, [file.name, file.read_text()])


def start_job(page: Any, file: Path, name: str, epochs: int = 2) -> None:
    page.get_by_role("button", name="New job").click()
    expect(page.get_by_role("heading", name="New job")).to_be_visible()
    drop(page, file)
    page.get_by_label(BASE).check()
    page.get_by_label("Name").fill(name)
    page.get_by_text(re.compile("^Settings:")).click()
    page.get_by_label("Epochs").fill(str(epochs))
    expect(page.locator(".estimate")).to_contain_text(re.compile(r"\d+ minute"))
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def status(page: Any) -> Any:
    return page.locator(".title .status")


def test_a_dropped_file_becomes_a_model_that_answers(signed_in: SignIn, rows: Rows) -> None:
    page = signed_in()
    start_job(page, rows(), "greeter")
    expect(status(page)).to_contain_text("completed")
    expect(
        page.get_by_role("img", name=re.compile("^Loss; newest: training [0-9.]+"))
    ).to_be_visible()
    page.get_by_role("tab", name="Checkpoints").click()
    expect(page.get_by_text(re.compile("ft:.*:ckpt-step-"))).to_be_visible()
    page.get_by_role("tab", name="Settings").click()
    expect(page.locator(".facts").last).to_contain_text("Learning rate")
    page.get_by_role("tab", name="Files").click()
    with page.expect_download() as download:
        page.get_by_role("row", name=re.compile("adapter_config.json")).get_by_role(
            "button"
        ).click()
    assert '"peft_type": "LORA"' in download.value.path().read_text()
    page.get_by_role("button", name="Try it").click()
    page.get_by_label("Message", exact=True).fill("hi 3")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
    page.keyboard.press("Enter")
    answers = page.locator(".answer[aria-busy=false]")
    expect(answers).to_have_count(2)
    for answer in answers.all():
        expect(answer).to_contain_text("first token")
    page.locator(".token").first.hover()
    expect(page.locator(".likely")).to_contain_text("%")
    page.get_by_role("link", name="Keys and usage").click()
    expect(page.get_by_role("row", name=re.compile("^random-llama-greeter 1 "))).to_be_visible()


def test_the_doctor_stops_a_job_that_would_fail(signed_in: SignIn, rows: Rows) -> None:
    page = signed_in()
    page.get_by_role("button", name="New job").click()
    drop(page, rows("wrong.jsonl", bad=12))
    expect(page.locator(".findings")).to_contain_text("Line 12")
    start = page.get_by_role("button", name="Start training")
    expect(start).to_have_attribute("title", re.compile("The training data has errors"))


def test_a_refusal_stands_at_its_field_and_what_is_chosen_is_trained(
    signed_in: SignIn, watch: Watch, rows: Rows
) -> None:
    watch.allow("status of 400")
    page = signed_in()
    page.get_by_role("button", name="New job").click()
    drop(page, rows())
    page.get_by_label(BASE).check()
    expect(page.locator(".findings")).to_contain_text("20 examples")
    page.get_by_text(re.compile("^Settings:")).click()
    rank = page.locator(".field", has_text="more holds more")
    rank.get_by_role("spinbutton").fill("300")
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled()
    start.click()
    expect(rank).to_contain_text("less than or equal to 256")
    page.get_by_label("All weights").check()
    expect(rank).to_have_count(0)
    page.get_by_label("An adapter (LoRA)").check()
    rank.get_by_role("spinbutton").fill("4")
    page.get_by_label("Layers").fill("q_proj, v_proj")
    start.click()
    expect(page.get_by_role("heading", name="greetings")).to_be_visible()
    page.get_by_role("tab", name="Settings").click()
    settings = page.locator(".facts").last
    expect(settings.locator("div", has_text="LoRA rank").last).to_contain_text("4")
    expect(settings).to_contain_text("q_proj, v_proj")


def test_a_dataset_shows_how_long_its_rows_are_and_what_is_learned_of_them(
    signed_in: SignIn, rows: Rows
) -> None:
    page = signed_in()
    page.get_by_role("link", name="Datasets").click()
    drop(page, rows())
    page.get_by_label("Base model").select_option(BASE)
    expect(page.get_by_role("figure", name="How many rows have how many tokens")).to_contain_text(
        re.compile(r"17 to 32\s*11")
    )
    page.get_by_role("tab", name="What is learned").click()
    page.get_by_role("spinbutton", name="Line").fill("12")
    page.keyboard.press("Enter")
    expect(page.locator(".rows li")).to_have_count(9)
    first = page.locator(".rows li").first
    expect(first).to_contain_text("Line 12")
    expect(first).to_contain_text("hi 12")
    expect(first.locator("mark")).to_have_text(re.compile("^hello"))


def test_a_job_that_fails_shows_the_line_and_what_to_do(
    signed_in: SignIn, service: Service, rows: Rows
) -> None:
    client = service.client
    file = client.files.create(file=rows("wrong.jsonl", bad=12), purpose="fine-tune")
    client.fine_tuning.jobs.create(model=BASE, training_file=file.id, suffix="mistaken")
    page = signed_in()
    page.get_by_role("link", name="mistaken").click()
    card = page.locator(".failure")
    expect(card).to_contain_text("Line 12")
    expect(card).to_contain_text("nobody answers")
    expect(card).to_contain_text("What to do")
    page.get_by_role("link", name="Start anew with a mended file").click()
    expect(page.get_by_label("Name")).to_have_value("mistaken")


def test_a_file_that_is_none_is_refused_in_words(
    signed_in: SignIn, watch: Watch, tmp_path: Path
) -> None:
    watch.allow("status of 400")
    page = signed_in()
    page.goto(f"{page.url.split('#')[0]}#/datasets")
    file = tmp_path / "picture.jsonl"
    file.write_text("this is no JSON\n")
    drop(page, file)
    expect(page.get_by_role("alert")).to_contain_text("Line 1: The line is not valid JSON.")


def test_a_long_job_is_paused_resumed_and_stopped(signed_in: SignIn, rows: Rows) -> None:
    page = signed_in()
    start_job(page, rows(count=200), "long", epochs=50)
    expect(status(page)).to_contain_text("running")
    expect(page.locator(".standing")).to_contain_text(re.compile(r"Step\s*[1-9]"))
    page.get_by_role("button", name="Pause").click()
    expect(status(page)).to_contain_text("paused")
    expect(page.locator(".note")).to_contain_text("Paused at its newest checkpoint")
    page.get_by_role("button", name="Resume").click()
    expect(status(page)).to_contain_text("running")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(status(page)).to_contain_text("stopped")


def test_a_server_that_goes_away_is_told_of_and_comes_back(
    signed_in: SignIn, service: Service, watch: Watch
) -> None:
    watch.allow("ERR_(CONNECTION_(REFUSED|RESET)|EMPTY_RESPONSE|CONTENT_LENGTH_MISMATCH)")
    watch.allow("status of 503")
    page = signed_in()
    expect(page.locator(".count").first).not_to_have_text("…")
    service.kill()
    banner = page.get_by_text("The server cannot be reached.")
    expect(banner).to_be_visible()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    service.start()
    expect(banner).to_be_hidden()
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()


def test_what_one_tab_starts_another_shows_and_one_signs_out_for_both(
    signed_in: SignIn, context: Any, service: Service, watch: Watch, rows: Rows
) -> None:
    first = signed_in(remember=True)
    second = context.new_page()
    watch.on(second)
    second.goto(service.url)
    expect(second.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    start_job(first, rows(), "seen-from-both")
    expect(second.get_by_role("link", name="seen-from-both")).to_be_visible()
    first.get_by_role("button", name="Sign out").click()
    expect(second.get_by_role("heading", name="Sign in to Tunesmith")).to_be_visible()


def test_a_key_without_the_scope_sees_why_it_may_not(
    signed_in: SignIn, service: Service, watch: Watch
) -> None:
    key = service.run("keys", "create", "--scopes", "fine-tuning:read").strip().splitlines()[-1]
    page = signed_in(key)
    button = page.get_by_role("button", name="New job")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_have_attribute("title", re.compile("lacks the scope fine-tuning:write"))
    page.get_by_role("link", name="Keys and usage").click()
    expect(page.get_by_text("This key sees only itself")).to_be_visible()
    page.get_by_role("link", name="Playground").click()
    page.get_by_label("Message", exact=True).fill("hi")
    expect(page.get_by_role("button", name="Send")).to_have_attribute("aria-disabled", "true")


def test_a_wrong_key_opens_nothing_and_a_revoked_one_is_sent_away(
    signed_in: SignIn, service: Service, context: Any, watch: Watch
) -> None:
    watch.allow("status of 401")
    page = context.new_page()
    watch.on(page)
    page.goto(service.url)
    page.get_by_label("API key").fill("ts_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key does not open anything")
    with service.http as http:
        body = {"name": "short-lived", "scopes": ["fine-tuning:read"]}
        made = http.post("/admin/v1/keys", json=body).json()
        other = signed_in(made["key"])
        assert http.delete(f"/admin/v1/keys/{made['id']}").status_code == 204
    expect(other.get_by_role("alert")).to_contain_text("This key is not valid any more")
    assert ADMIN_KEY not in other.content()
