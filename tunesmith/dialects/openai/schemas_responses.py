"""The wire: what the Responses API is asked with. A request says all, for nothing is kept."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tunesmith.dialects.openai.schemas_answers import (
    ANY_OBJECT,
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    CreateAnswer,
    FunctionDefinition,
    Name,
    Part,
    StreamOptions,
    TypedPart,
    check_names,
    joined_text,
)
from tunesmith.domain.errors import InvalidRequest

LOGPROBS = "message.output_text.logprobs"
MAX_METADATA_PAIRS = 16
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]

_TEXT_KEYS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}
_NEEDED = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}


def _joined_text(content: Any) -> Any:
    return joined_text(content, _TEXT_KEYS, "input")


def _items(given: Any) -> Any:
    """Text alone is what the user says."""
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _with_type(choice: Any) -> Any:
    return {"type": choice} if isinstance(choice, str) else choice


Content = Annotated[
    str | None,
    BeforeValidator(_joined_text, json_schema_input_type=str | list[dict[str, Any]] | None),
]


class InputItem(TypedPart):
    """A message, a function call of the model, or what such a call came to."""

    PLACE: ClassVar[str] = "input"
    KINDS: ClassVar[Collection[str]] = tuple(_NEEDED)
    IGNORED: ClassVar[frozenset[str]] = frozenset({"caller", "id", "phase", "status"})
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {"async": (False,), "namespace": ()}

    type: Literal["message", "function_call", "function_call_output"] = "message"
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Content = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: Content = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for field in _NEEDED[self.type]:
            if getattr(self, field) is None:
                raise InvalidRequest(
                    f"An item of type {self.type!r} needs a `{field}`.", param="input"
                )
        return self


class TextFormat(Part):
    """`strict` or not, the answer keeps to the schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = Field(None, description="is told back")
    description: str | None = Field(None, description="is told back, and not shown to the model")
    strict: bool | None = Field(None, description="is told back; the answer keeps to the schema")
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.type == "json_schema" and (self.name is None or self.schema_ is None):
            raise InvalidRequest(
                "A format of type 'json_schema' needs a `name` and a `schema`.",
                param="text.format",
            )
        return self

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        if self.type == "text":
            return None
        return self.schema_ or ANY_OBJECT


class TextOptions(Part):
    IGNORED: ClassVar[frozenset[str]] = frozenset({"verbosity"})

    format: TextFormat | None = None


class ResponseTool(FunctionDefinition, TypedPart):
    PLACE: ClassVar[str] = "tools"
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {
        "allowed_callers": (["direct"],),
        "async": (False,),
        "defer_loading": (False,),
        "output_schema": (),
    }

    type: Literal["function"]


class ChosenTool(Part):
    type: Literal["function"]
    name: Name


class ResponseToolChoice(Part):
    """A word alone is sent as text."""

    type: Literal["none", "auto", "required", "function", "allowed_tools"]
    name: Name | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[ChosenTool] | None = Field(None, min_length=1, max_length=MAX_TOOLS)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed = {"function": ("name",), "allowed_tools": ("mode", "tools")}.get(self.type, ())
        for field in needed:
            if getattr(self, field) is None:
                raise InvalidRequest(
                    f"A choice of type {self.type!r} needs `{field}`.", param="tool_choice"
                )
        return self

    @property
    def names(self) -> tuple[str, ...] | None:
        if self.type == "function" and self.name is not None:
            return (self.name,)
        return tuple(tool.name for tool in self.tools) if self.tools else None


Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]


class CreateResponse(CreateAnswer):
    """`include` may name parts of items that answers here never have."""

    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {
        "background": (False,),
        "context_management": ([],),
        "conversation": (),
        "previous_response_id": (),
        "prompt": (),
        "truncation": ("disabled",),
    }
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            "access_programs",
            "image",
            "max_tool_calls",
            "moderation",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
        }
    )

    input: Annotated[
        list[InputItem],
        BeforeValidator(_items, json_schema_input_type=str | list[InputItem]),
        Field(min_length=1),
    ]
    instructions: str | None = Field(None, description="a system message before the input")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    text: TextOptions | None = None
    tools: list[ResponseTool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: Annotated[
        ResponseToolChoice | None,
        BeforeValidator(
            _with_type,
            json_schema_input_type=Literal["none", "auto", "required"] | ResponseToolChoice | None,
        ),
    ] = None
    parallel_tool_calls: bool | None = Field(
        None, description="false: at most one call in an answer"
    )
    metadata: dict[MetadataKey, MetadataValue] | None = Field(
        None, max_length=MAX_METADATA_PAIRS, description="is told back"
    )
    include: list[Include] | None = Field(
        None, description=f"`{LOGPROBS}`; the others are of items that answers here never have"
    )
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.tool_choice is not None:
            if self.tool_choice.type == "required" and not self.tools:
                raise InvalidRequest(
                    "`tool_choice` 'required' needs `tools` to choose from.", param="tool_choice"
                )
            check_names(self.tool_choice.names or (), self.definitions, "tool_choice")
        return self

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [tool.plain() for tool in self.tools or ()]

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        return self.text.format.schema_to_keep if self.text and self.text.format else None

    @property
    def wants_logprobs(self) -> bool:
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)
