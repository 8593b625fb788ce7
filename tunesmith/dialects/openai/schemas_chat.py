"""The wire: what chat completions are asked with."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tunesmith.dialects.openai.schemas_answers import (
    ANY_OBJECT,
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    CreateChoices,
    FunctionDefinition,
    JsonSchema,
    Name,
    Part,
    TypedPart,
    check_names,
    joined_text,
)
from tunesmith.domain.errors import InvalidRequest

_TEXT_KEYS = {"text": "text", "refusal": "refusal"}  # kinds of parts that hold text, and where


def _joined_text(content: Any) -> Any:
    return joined_text(content, _TEXT_KEYS, "messages")


def _with_type(choice: Any) -> Any:
    """Choices that are only a word, and those that say more, in one form."""
    return {"type": choice} if isinstance(choice, str) else choice


def _with_mode(choice: Any) -> Any:
    return {"mode": choice} if isinstance(choice, str) else choice


Content = Annotated[
    str | None,
    BeforeValidator(_joined_text, json_schema_input_type=str | list[dict[str, Any]] | None),
]


class CalledFunction(Part):
    name: str
    arguments: str


class MessageToolCall(Part):
    IGNORED: ClassVar[frozenset[str]] = frozenset({"index"})

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Part):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {"audio": ()}
    IGNORED: ClassVar[frozenset[str]] = frozenset({"annotations"})

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content = None
    refusal: str | None = Field(None, description="what the assistant said, without `content`")
    name: str | None = Field(None, description="for the chat template, if it has a use for it")
    tool_call_id: str | None = None
    tool_calls: list[MessageToolCall] | None = None
    function_call: CalledFunction | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.role == "assistant":
            has_more = self.refusal is not None or self.tool_calls or self.function_call
            if self.content is None and not has_more:
                raise InvalidRequest(
                    "A message of role 'assistant' needs a `content` or `tool_calls`.",
                    param="messages",
                )
            return self
        if self.content is None:
            raise InvalidRequest(
                f"A message of role {self.role!r} needs a `content`.", param="messages"
            )
        needed = {"tool": "tool_call_id", "function": "name"}.get(self.role)
        if needed is not None and getattr(self, needed) is None:
            raise InvalidRequest(
                f"A message of role {self.role!r} needs a `{needed}`.", param="messages"
            )
        return self


class Tool(TypedPart):
    PLACE: ClassVar[str] = "tools"

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(Part):
    name: Name


class AllowedTool(Part):
    type: Literal["function"]
    function: FunctionName


class AllowedTools(Part):
    mode: Literal["auto", "required"]
    tools: list[AllowedTool] = Field(min_length=1, max_length=MAX_TOOLS)


class ToolChoice(Part):
    """A word alone is sent as text."""

    type: Literal["none", "auto", "required", "function", "allowed_tools"]
    function: FunctionName | None = None
    allowed_tools: AllowedTools | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.type in ("function", "allowed_tools") and getattr(self, self.type) is None:
            raise InvalidRequest(
                f"A choice of type {self.type!r} needs a `{self.type}`.", param="tool_choice"
            )
        return self

    @property
    def names(self) -> tuple[str, ...] | None:
        if self.function is not None:
            return (self.function.name,)
        if self.allowed_tools is not None:
            return tuple(tool.function.name for tool in self.allowed_tools.tools)
        return None


class FunctionChoice(Part):
    """A word alone, which is sent as text, or the name of a function."""

    mode: Literal["none", "auto"] | None = None
    name: Name | None = None


SentToolChoice = Annotated[
    ToolChoice | None,
    BeforeValidator(
        _with_type,
        json_schema_input_type=Literal["none", "auto", "required"] | ToolChoice | None,
    ),
]
SentFunctionChoice = Annotated[
    FunctionChoice | None,
    BeforeValidator(
        _with_mode, json_schema_input_type=Literal["none", "auto"] | FunctionChoice | None
    ),
]


class ResponseFormat(Part):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise InvalidRequest(
                "A format of type 'json_schema' needs a `json_schema`.", param="response_format"
            )
        return self

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        if self.type == "text":
            return None
        given = self.json_schema.schema_ if self.json_schema else None
        return given if self.type == "json_schema" and given else ANY_OBJECT


class CreateChatCompletion(CreateChoices):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {
        "audio": (),
        "modalities": (["text"], []),
        "web_search_options": (),
    }
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            "metadata",
            "moderation",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
            "verbosity",
        }
    )

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(
        None, ge=1, description="the older name of `max_completion_tokens`, which wins"
    )
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: SentToolChoice = None
    parallel_tool_calls: bool | None = Field(
        None, description="false: at most one call in an answer"
    )
    functions: list[FunctionDefinition] | None = Field(
        None, max_length=MAX_TOOLS, description="the older form of `tools`; one call in an answer"
    )
    function_call: SentFunctionChoice = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequest("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")
        if self.tools and self.functions:
            raise InvalidRequest("Send `tools` or `functions`, not both.", param="functions")
        if self.functions and self.tool_choice is not None:
            raise InvalidRequest(
                "`tool_choice` is for `tools`; send `function_call`.", param="tool_choice"
            )
        if self.tools and self.function_call is not None:
            raise InvalidRequest(
                "`function_call` is for `functions`; send `tool_choice`.", param="function_call"
            )
        if self.tool_choice is not None:
            if self.tool_choice.type == "required" and not self.tools:
                raise InvalidRequest(
                    "`tool_choice` 'required' needs `tools` to choose from.", param="tool_choice"
                )
            check_names(self.tool_choice.names or (), self.definitions, "tool_choice")
        if self.function_call is not None and self.function_call.name is not None:
            check_names([self.function_call.name], self.definitions, "function_call")
        return self

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """Of all that may be called."""
        functions = self.functions or [tool.function for tool in self.tools or ()]
        return [function.plain() for function in functions]

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        return self.response_format.schema_to_keep if self.response_format else None

    @property
    def uses_functions(self) -> bool:
        """Whether the answer is to say `function_call`, the older form of `tool_calls`."""
        return bool(self.functions)
