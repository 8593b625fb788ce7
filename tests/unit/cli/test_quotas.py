"""`tunesmith orgs quota` shows and sets what an organization may have."""

import json

from tests.unit.cli.conftest import Run


def test_a_quota_is_shown_as_it_was_set_and_a_limit_can_go(run: Run) -> None:
    assert run("orgs", "create", "acme").exit_code == 0
    made = run("orgs", "quota", "acme", "--max-stored-bytes", "5G", "--max-running-jobs", "2")
    assert made.exit_code == 0, made.output
    assert "5,000,000,000" in made.stdout
    told = json.loads(run("orgs", "quota", "acme", "--json").stdout)
    assert (told["max_stored_bytes"], told["max_running_jobs"]) == (5 * 10**9, 2)
    assert told["use"]["running_jobs"] == 0
    gone = run("orgs", "quota", "acme", "--max-running-jobs", "none", "--weight", "2", "--json")
    assert json.loads(gone.stdout)["max_running_jobs"] is None
    assert json.loads(gone.stdout)["max_stored_bytes"] == 5 * 10**9


def test_what_is_no_limit_is_refused_with_what_is(run: Run) -> None:
    refused = run("orgs", "quota", "acme", "--max-running-jobs", "many")
    assert refused.exit_code == 2
    assert "none" in refused.output


def test_an_organization_that_is_not_there_has_no_quota(run: Run) -> None:
    refused = run("orgs", "quota", "nobody")
    assert refused.exit_code == 1
    assert "nobody" in refused.stderr
