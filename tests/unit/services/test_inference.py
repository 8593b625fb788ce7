from typing import Any
from uuid import uuid4

import pytest

from tests.factories import artifact, base_model, context
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.models import TunedModel
from tunesmith.services import inference
from tunesmith.services.context import Context, House
from tunesmith.services.inference import MAX_TOTAL_LENGTH, Sampling, ToolChoice, Tools, ToolUse
from tunesmith.store.database import Store


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, house, owner)


def test_each_choice_is_a_request_of_its_own(ctx: Context) -> None:
    made = inference.chat_requests(ctx, base_model(), [], Sampling(), 3)
    assert len({request.request_id for request in made}) == 3
    assert [request.seed for request in made] == [None, None, None]


def test_with_a_seed_the_choices_differ_and_repeat(ctx: Context) -> None:
    sampling = Sampling(seed=5)
    made = [inference.chat_requests(ctx, base_model(), [], sampling, 3) for _ in range(2)]
    assert [[request.seed for request in requests] for requests in made] == [[5, 6, 7]] * 2


def test_choices_of_a_long_prompt_are_few(ctx: Context) -> None:
    messages = [{"role": "user", "content": "x" * (MAX_TOTAL_LENGTH // 4)}]
    assert len(inference.chat_requests(ctx, base_model(), messages, Sampling(), 3)) == 3
    with pytest.raises(InvalidRequest, match="ask for fewer"):
        inference.chat_requests(ctx, base_model(), messages, Sampling(), 4)
    with pytest.raises(InvalidRequest, match="ask for fewer"):
        inference.text_requests(ctx, base_model(), [messages[0]["content"]] * 2, Sampling(), 2)


def test_the_choices_of_several_prompts_come_prompt_by_prompt(ctx: Context) -> None:
    made = inference.text_requests(ctx, base_model(), ["a", [1, 2]], Sampling(), 2)
    assert [(request.prompt, request.prompt_token_ids) for request in made] == [
        ("a", None),
        ("a", None),
        (None, [1, 2]),
        (None, [1, 2]),
    ]


FIRST, SECOND = ({"type": "function", "function": {"name": name}} for name in ("f", "g"))


@pytest.mark.parametrize(
    ("choice", "offered", "required"),
    [
        (ToolChoice(), [FIRST, SECOND], ()),
        (ToolChoice(use=ToolUse.FORBIDDEN), [], ()),
        (ToolChoice(use=ToolUse.REQUIRED), [FIRST, SECOND], ("f", "g")),
        (ToolChoice(use=ToolUse.REQUIRED, names=("g",)), [FIRST, SECOND], ("g",)),
        (ToolChoice(use=ToolUse.FREE, names=("g",)), [SECOND], ()),
    ],
)
def test_only_what_may_be_called_is_offered(
    choice: ToolChoice, offered: list[Any], required: tuple[str, ...]
) -> None:
    tools = Tools(definitions=[FIRST, SECOND], choice=choice)
    assert (tools.offered(), tools.required()) == (offered, required)


@pytest.mark.parametrize(
    ("embedding", "dimensions", "unit"),
    [
        ((3.0, 0.0, 4.0), None, [0.6, 0.0, 0.8]),
        ((3.0, 4.0, 4.0), 2, [0.6, 0.8]),
        ((0.0, 0.0), None, [0.0, 0.0]),
    ],
)
def test_an_embedding_has_length_one(
    embedding: tuple[float, ...], dimensions: int | None, unit: list[float]
) -> None:
    assert inference.unit_vector(embedding, dimensions) == pytest.approx(unit)


def test_no_more_dimensions_than_there_are() -> None:
    with pytest.raises(InvalidRequest, match="have 2 dimensions"):
        inference.unit_vector((1.0, 0.0), 3)


def test_a_tuned_model_is_its_base_with_an_adapter(ctx: Context) -> None:
    model = TunedModel(
        id=uuid4(),
        short_id="abcd1234",
        organization_id=ctx.owner,
        organization_slug="acme",
        job_id=uuid4(),
        base_model="base",
        suffix=None,
        step=None,
        artifacts=(artifact(ctx.house.blobs),),
        created_at=ctx.now(),
    )
    (made,) = inference.chat_requests(ctx, model, [], Sampling(), 1)
    assert made.base_model == base_model()
    assert made.adapter is not None
    assert made.adapter.artifacts == model.artifacts
