"""The whole way, wired as `tunesmith serve` wires it: command, server, outbox, receiver."""

import json
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.webhooks import FineTuningJobFailedWebhookEvent

from tests.receiver import receiving, with_status
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_admin import serving
from tunesmith.app import ADMIN_KEY_FILE


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_WEBHOOKS_ALLOW_PRIVATE", "true")


def create(run: Run, url: str, *options: str) -> tuple[str, str]:
    """Id and secret of a new webhook."""
    made = run("webhooks", "create", url, *options)
    assert made.exit_code == 0, made.output
    secret = made.stdout.removesuffix("\n")
    (line,) = [line for line in run("webhooks", "list").stdout.splitlines() if url in line]
    return line.split()[0], secret


@pytest.mark.usefixtures("allowed")
def test_a_test_event_arrives_and_the_secret_that_was_printed_verifies_it(
    run: Run, data_dir: Path
) -> None:
    with receiving() as receiver, serving(data_dir):
        webhook_id, secret = create(run, f"{receiver.url}/hook", "--on", "failed, stopped")
        assert secret.startswith("whsec_")
        tested = run("webhooks", "test", webhook_id)
        assert tested.exit_code == 0, tested.output
        assert tested.stdout == "delivered, attempts: 1, answered 200\n"
        listed = run("webhooks", "list").stdout
    (received,) = receiver.received
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    event = client.webhooks.unwrap(received.body, received.headers)
    assert isinstance(event, FineTuningJobFailedWebhookEvent)
    assert "failed stopped" in listed
    assert "answered 200" in listed
    assert secret not in listed


@pytest.mark.usefixtures("allowed")
def test_a_test_that_is_refused_says_with_what(run: Run, data_dir: Path) -> None:
    with receiving() as receiver, serving(data_dir):
        receiver.answer = with_status(503)
        webhook_id, _ = create(run, receiver.url)
        tested = run("webhooks", "test", webhook_id)
        assert tested.exit_code == 1
        assert "waiting, attempts: 1, answered 503" in tested.stderr
        assert "answered 503" in run("webhooks", "list").stdout
        (line,) = [
            line
            for line in run("webhooks", "deliveries", webhook_id).stdout.splitlines()
            if "answered 503" in line
        ]
        assert "succeeded" in line
        assert "waiting" in line


def test_this_machine_is_called_by_no_name_unless_the_operator_allows_it(
    run: Run, data_dir: Path
) -> None:
    with receiving() as receiver, serving(data_dir):
        made = run("webhooks", "create", receiver.url)
        assert made.exit_code == 1
        assert "TUNESMITH_WEBHOOKS_ALLOW_PRIVATE" in made.stderr
        port = receiver.url.rpartition(":")[2]
        webhook_id, _ = create(run, f"http://localhost:{port}")
        tested = run("webhooks", "test", webhook_id)
        assert "not one of the public internet" in tested.stderr
    assert receiver.received == []


def test_a_deleted_webhook_is_gone(run: Run) -> None:
    webhook_id, _ = create(run, "https://example.com/")
    assert run("webhooks", "delete", webhook_id).exit_code == 0
    assert webhook_id not in run("webhooks", "list").stdout
    assert run("webhooks", "delete", webhook_id).exit_code == 1
    assert run("webhooks", "test", webhook_id).exit_code == 1


def test_without_a_server_a_test_waits_for_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.cli.webhooks._TEST_SECONDS", 0.1)
    webhook_id, _ = create(run, "https://example.com/")
    assert "when a server runs" in run("webhooks", "test", webhook_id).stderr


def test_an_organization_has_a_bounded_number_of_webhooks(run: Run, data_dir: Path) -> None:
    with serving(data_dir) as url, as_admin(data_dir, url) as http:
        for _ in range(10):
            assert add(http, url="https://example.com/").status_code == 201
        refused = add(http, url="https://example.com/")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")


def as_admin(data_dir: Path, url: str) -> httpx.Client:
    key = (data_dir / ADMIN_KEY_FILE).read_text().strip()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return httpx.Client(base_url=f"{url}/admin/v1", headers=headers, trust_env=False)


def add(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post("/webhooks", content=json.dumps(body))


def test_bad_requests_are_refused_by_name(data_dir: Path) -> None:
    good = "https://example.com/"
    with serving(data_dir) as url, as_admin(data_dir, url) as http:
        for param, body in [
            ("url", {}),
            ("url", {"url": 7}),
            ("url", {"url": "http://10.0.0.1/"}),
            ("url", {"url": "https://example.com/\x00"}),
            ("url", {"url": "https://\ud800.example/"}),
            ("url", {"url": "https://example.com/" + "a" * 3000}),
            ("outcomes", {"url": good, "outcomes": []}),
            ("outcomes", {"url": good, "outcomes": None}),
            ("outcomes.0", {"url": good, "outcomes": ["running"]}),
            ("secret", {"url": good, "secret": "whsec_mine"}),
        ]:
            answer = add(http, **body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert http.get("/webhooks").json() == []
        unknown = "00000000-0000-0000-0000-000000000000"
        assert http.get(f"/webhooks/{unknown}/deliveries").status_code == 404
        assert http.post("/webhooks/x/test").status_code == 400


def test_a_key_without_the_admin_scope_sees_no_webhooks(run: Run, data_dir: Path) -> None:
    secret = run("keys", "create").stdout.strip()
    some_id = "00000000-0000-0000-0000-000000000000"
    with serving(data_dir) as url:
        http = httpx.Client(base_url=f"{url}/admin/v1", trust_env=False)
        http.headers["authorization"] = f"Bearer {secret}"
        with http:
            for method, path, body in [
                ("GET", "/webhooks", None),
                ("POST", "/webhooks", {"url": "https://example.com/"}),
                ("DELETE", f"/webhooks/{some_id}", None),
                ("POST", f"/webhooks/{some_id}/test", None),
                ("GET", f"/webhooks/{some_id}/deliveries", None),
            ]:
                assert http.request(method, path, json=body).status_code == 403
