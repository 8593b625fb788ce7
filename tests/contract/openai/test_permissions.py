"""Permissions on checkpoints: who may give them, and what they give."""

import json
from urllib.parse import quote
from uuid import uuid4

import httpx
import openai
import pytest

from tests.contract.openai.support import refused, trained_job, upload
from tests.contract.server import BASE, ScriptedSampler, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope

UNKNOWN = "cp_" + "0" * 24
PROMPT = [{"role": "user", "content": "x"}]


@pytest.fixture
def name(client: openai.OpenAI, worker: Worker) -> str:
    """A checkpoint's, with the step at its end."""
    job = trained_job(client, worker, suffix="s")
    checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[1]
    return checkpoint.fine_tuned_model_checkpoint


def test_a_permission_is_given_listed_and_taken_back(admin: openai.OpenAI, name: str) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    (given,) = permissions.create(name, project_ids=["proj_a"]).data
    assert given.id.startswith("cp_")
    assert (given.object, given.project_id) == ("checkpoint.permission", "proj_a")
    listed = permissions.list(name)
    assert [one.to_dict() for one in listed.data] == [given.to_dict()]
    assert (listed.has_more, listed.last_id) == (False, given.id)
    deleted = permissions.delete(given.id, fine_tuned_model_checkpoint=name)
    assert deleted.to_dict() == {
        "id": given.id,
        "object": "checkpoint.permission",
        "deleted": True,
    }
    assert permissions.list(name).data == []
    with refused(404):
        permissions.delete(given.id, fine_tuned_model_checkpoint=name)


def test_giving_a_permission_again_gives_the_same_one(admin: openai.OpenAI, name: str) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    first = permissions.create(name, project_ids=["a", "b", "a"]).data
    assert [one.project_id for one in first] == ["a", "b"]
    again = permissions.create(name, project_ids=["c", "b"]).data
    assert [one.project_id for one in again] == ["c", "b"]
    assert again[1] == first[1]
    assert len(permissions.list(name).data) == 3


def test_permissions_are_paged_in_either_order(admin: openai.OpenAI, name: str) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    permissions.create(name, project_ids=[f"p{n}" for n in range(5)])
    newest_first = [one.project_id for one in permissions.list(name, limit=2)]
    assert newest_first == ["p4", "p3", "p2", "p1", "p0"]
    oldest_first = [one.project_id for one in permissions.list(name, limit=2, order="ascending")]
    assert oldest_first == newest_first[::-1]
    assert [one.project_id for one in permissions.list(name, project_id="p3")] == ["p3"]
    assert permissions.list(name, project_id="p9").data == []
    with refused(404):
        permissions.list(name, after=UNKNOWN)


def test_the_older_way_to_list_is_answered(admin: openai.OpenAI, name: str) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    (given,) = permissions.create(name, project_ids=["a"]).data
    with pytest.warns(DeprecationWarning, match="list"):
        listed = permissions.retrieve(name)  # type: ignore[deprecated]
    assert (listed.first_id, listed.last_id, listed.has_more) == (given.id, given.id, False)


def test_a_key_without_the_right_to_administer_is_refused(client: openai.OpenAI, name: str) -> None:
    permissions = client.fine_tuning.checkpoints.permissions
    with refused(403):
        permissions.create(name, project_ids=["a"])
    with refused(403):
        permissions.list("ft:unknown")
    with refused(403):
        permissions.delete(UNKNOWN, fine_tuned_model_checkpoint=name)


def test_only_ones_own_tuned_models_have_permissions(
    admin: openai.OpenAI, anyone: openai.OpenAI, server: Server, name: str
) -> None:
    (given,) = admin.fine_tuning.checkpoints.permissions.create(name, project_ids=["a"]).data
    other = server.new_caller(frozenset({Scope.ADMIN}))
    permissions = anyone.with_options(api_key=other.secret).fine_tuning.checkpoints.permissions
    for wrong in (name, BASE, "nothing", name + "0"):
        with refused(404):
            permissions.create(wrong, project_ids=["a"])
        with refused(404):
            permissions.list(wrong)
        with refused(404):
            permissions.delete(given.id, fine_tuned_model_checkpoint=wrong)
    assert len(admin.fine_tuning.checkpoints.permissions.list(name).data) == 1


def test_a_permission_is_deleted_under_its_own_checkpoint_alone(
    client: openai.OpenAI, admin: openai.OpenAI, worker: Worker, name: str
) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    (given,) = permissions.create(name, project_ids=["a"]).data
    other = trained_job(client, worker).fine_tuned_model or ""
    with refused(404):
        permissions.delete(given.id, fine_tuned_model_checkpoint=other)
    with refused(404):
        permissions.delete("cp_x", fine_tuned_model_checkpoint=name)


@pytest.mark.parametrize(
    "projects", [[], [""], ["a b"], ["a\0"], ["x" * 129], [1], "a", None, ["a"] * 101, ["\ud800"]]
)
def test_strange_projects_are_refused(
    admin: openai.OpenAI, server: Server, name: str, projects: object
) -> None:
    answer = httpx.post(
        f"{server.url}/v1/fine_tuning/checkpoints/{quote(name, safe='')}/permissions",
        headers={"Authorization": f"Bearer {admin.api_key}"},
        content=json.dumps({"project_ids": projects}),
        verify=False,
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith("project_ids")


def test_slashes_in_the_name_may_be_escaped_or_not(
    admin: openai.OpenAI, server: Server, name: str
) -> None:
    assert "/" in name
    headers = {"Authorization": f"Bearer {admin.api_key}"}
    with httpx.Client(headers=headers, verify=False) as http:
        for spelled in (name, quote(name, safe=""), quote(name)):
            url = f"{server.url}/v1/fine_tuning/checkpoints/{spelled}/permissions"
            assert http.get(url).status_code == 200


def test_a_permitted_organization_may_ask_and_nothing_else(
    client: openai.OpenAI,
    admin: openai.OpenAI,
    anyone: openai.OpenAI,
    server: Server,
    sampler: ScriptedSampler,
    name: str,
) -> None:
    guest = server.new_caller()
    theirs = anyone.with_options(api_key=guest.secret)
    with refused(404):
        theirs.chat.completions.create(model=name, messages=PROMPT)  # type: ignore[arg-type]
    permissions = admin.fine_tuning.checkpoints.permissions
    (given,) = permissions.create(name, project_ids=[guest.organization.slug]).data
    answer = theirs.chat.completions.create(model=name, messages=PROMPT)  # type: ignore[arg-type]
    assert (answer.model, answer.choices[0].message.content) == (name, "Hello")
    assert theirs.models.retrieve(name).id == name
    assert name not in {model.id for model in theirs.models.list()}
    with refused(404):
        theirs.models.delete(name)
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        theirs.fine_tuning.jobs.create(model=name, training_file=upload(theirs).id)
    with refused(404):
        theirs.get(f"/models/{name}/files", cast_to=httpx.Response)
    permissions.delete(given.id, fine_tuned_model_checkpoint=name)
    with refused(404):
        theirs.chat.completions.create(model=name, messages=PROMPT)  # type: ignore[arg-type]
    assert client.models.retrieve(name).id == name


def test_a_permission_is_for_one_model_and_one_organization(
    client: openai.OpenAI,
    admin: openai.OpenAI,
    anyone: openai.OpenAI,
    server: Server,
    worker: Worker,
    name: str,
) -> None:
    guest, nobody = server.new_caller(), server.new_caller()
    other = trained_job(client, worker).fine_tuned_model or ""
    permissions = admin.fine_tuning.checkpoints.permissions
    permissions.create(name, project_ids=[guest.organization.slug])
    assert anyone.with_options(api_key=guest.secret).models.retrieve(name).id == name
    with refused(404):
        anyone.with_options(api_key=guest.secret).models.retrieve(other)
    with refused(404):
        anyone.with_options(api_key=nobody.secret).models.retrieve(name)


def test_whoever_takes_a_permitted_name_later_gets_nothing(
    admin: openai.OpenAI, anyone: openai.OpenAI, server: Server, name: str
) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    slug = f"later-{uuid4().hex[:16]}"
    permissions.create(name, project_ids=[slug])
    late = server.new_caller(slug=slug)
    with refused(404):
        anyone.with_options(api_key=late.secret).models.retrieve(name)


def test_a_deleted_model_takes_its_permissions_along(
    client: openai.OpenAI, admin: openai.OpenAI, name: str
) -> None:
    admin.fine_tuning.checkpoints.permissions.create(name, project_ids=["a"])
    assert client.models.delete(name).deleted
    with refused(404):
        admin.fine_tuning.checkpoints.permissions.list(name)
