"""The wire: running a text model.

https://developers.cloudflare.com/workers-ai/models, text generation, as of August 2026. Models
there differ in their fields, and clients send those of others along: unknown ones are ignored.
"""

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tunesmith.dialects.cloudflare.schemas import Envelope
from tunesmith.domain.errors import InvalidRequest
from tunesmith.wire.json_body import Request, check_json

MAX_TOOLS = 128
MAX_STOPS = 4
DEFAULT_MAX_TOKENS = 256
DEFAULT_TEMPERATURE = 0.6
ANY_OBJECT: dict[str, Any] = {"type": "object"}  # what an answer in JSON mode keeps to

_WORDS = {"true": True, "false": False}
_SCHEMA_WORDS = {"type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}


def _flag(value: Any) -> Any:
    """The documentation's own examples say "true"."""
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    """Clients in typed languages send 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _joined(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    if any(not isinstance(part, dict) or part.get("type", "text") != "text" for part in content):
        raise ValueError("has parts that are no text, which is not available")
    texts = [part.get("text") for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("has a part without its text")
    return "".join(texts)


Flag = Annotated[bool | None, BeforeValidator(_flag)]
Whole = BeforeValidator(_whole)
Name = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]
Text = Annotated[
    str | None,
    BeforeValidator(_joined, json_schema_input_type=str | list[dict[str, Any]] | None),
]


class Part(Request):
    """An object inside of the body."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, part: Any) -> Any:
        if not isinstance(part, dict):
            raise ValueError("must be an object")
        return part


class CalledFunction(Part):
    name: str
    arguments: str | dict[str, Any] = "{}"

    @property
    def arguments_text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


class MessageToolCall(Part):
    """As in answers here, `name` and `arguments`; or OpenAI's, in a `function`."""

    id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] = "{}"
    function: CalledFunction | None = None

    @property
    def called(self) -> CalledFunction:
        if self.function is not None:
            return self.function
        if self.name is None:
            raise InvalidRequest("A tool call needs a `name`.", param="messages")
        return CalledFunction(name=self.name, arguments=self.arguments)


class Message(Part):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[MessageToolCall] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError(f"a message of role {self.role!r} needs a `content`")
        return self


class FunctionDefinition(Part):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {"code": ()}

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        shown = {"name", "description", "parameters"}
        return {"type": "function", "function": self.model_dump(include=shown, exclude_none=True)}


class Tool(Part):
    """Flat, with a `name`; or as OpenAI has it, in a `function`."""

    type: Literal["function"] = "function"
    name: Name | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    function: FunctionDefinition | None = None

    @property
    def definition(self) -> FunctionDefinition:
        if self.function is not None:
            return self.function
        if self.name is None:
            raise InvalidRequest("A tool needs a `name` or a `function`.", param="tools")
        return FunctionDefinition(
            name=self.name, description=self.description, parameters=self.parameters
        )


class ToolChoice(Part):
    """A word alone is sent as text."""

    type: Literal["none", "auto", "any", "required", "function"]
    function: FunctionDefinition | None = None


def _with_type(choice: Any) -> Any:
    return {"type": choice} if isinstance(choice, str) else choice


SentToolChoice = Annotated[
    ToolChoice | None,
    BeforeValidator(
        _with_type,
        json_schema_input_type=Literal["none", "auto", "any", "required"] | ToolChoice | None,
    ),
]


class ResponseFormat(Part):
    """`json_schema` is the schema itself, or OpenAI's object around it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("a format of type 'json_schema' needs a `json_schema`")
        return self

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        if self.type == "text":
            return None
        given = self.json_schema or {}
        inner = given.get("schema")
        if isinstance(inner, dict) and _SCHEMA_WORDS.isdisjoint(given):
            given = inner
        return given if self.type == "json_schema" and given else ANY_OBJECT


class Options(Part):
    reject_if_busy: Flag = Field(None, alias="rejectIfBusy")


class RunText(Request):
    """Exactly one of `prompt` and `messages`; null stands for the default."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("prompt", "messages")]},
    )

    prompt: str | None = Field(None, min_length=1)
    messages: list[Message] | None = Field(None, min_length=1)
    lora: str | None = Field(None, description="The id or the name of a finetune.")
    raw: Flag = Field(None, description="Without the chat template. Null is false.")
    stream: Flag = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31 - 1), Whole] | None = Field(
        None, description=f"Null is {DEFAULT_MAX_TOKENS}."
    )
    temperature: float | None = Field(
        None, ge=0, le=5, description=f"Null is {DEFAULT_TEMPERATURE}."
    )
    top_p: float | None = Field(None, ge=0.001, le=1)
    top_k: Annotated[int, Field(ge=1, le=50), Whole] | None = None
    seed: Annotated[int, Field(ge=1, le=9_999_999_999), Whole] | None = None
    repetition_penalty: float | None = Field(
        None, ge=0, le=2, description="0 and 1 change nothing."
    )
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    functions: list[FunctionDefinition] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: SentToolChoice = None
    options: Options | None = None

    @classmethod
    def _is_heeded(cls, name: str, value: Any) -> bool:
        is_heeded = super()._is_heeded(name, value)
        if is_heeded:
            check_json(value, name)
        return is_heeded

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise InvalidRequest("Send either `prompt` or `messages`.", param="prompt")
        if self.tools and self.functions:
            raise InvalidRequest("Send `tools` or `functions`, not both.", param="functions")
        if self.raw and self.definitions:
            raise InvalidRequest("`tools` need the chat template: leave out `raw`.", param="raw")
        if self.stream and self.schema_to_keep is not None:
            raise InvalidRequest("JSON mode does not stream: leave out `stream`.", param="stream")
        if len(self.stops) > MAX_STOPS:
            raise InvalidRequest(f"`stop` has at most {MAX_STOPS} texts.", param="stop")
        self._check_choice()
        return self

    def _check_choice(self) -> None:
        choice = self.tool_choice
        if choice is None or choice.type in ("none", "auto"):
            return
        names = {definition["function"]["name"] for definition in self.definitions}
        if choice.type == "function":
            if choice.function is None or choice.function.name not in names:
                raise InvalidRequest("`tool_choice` names none of the tools.", param="tool_choice")
        elif not names:
            raise InvalidRequest("There are no tools to choose from.", param="tool_choice")

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """Of all that may be called."""
        given = self.functions or [tool.definition for tool in self.tools or ()]
        return [definition.plain() for definition in given]

    @property
    def schema_to_keep(self) -> dict[str, Any] | None:
        return self.response_format.schema_to_keep if self.response_format else None

    @property
    def stops(self) -> tuple[str, ...]:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in stops if text)

    @property
    def rejects_if_busy(self) -> bool:
        return bool(self.options and self.options.reject_if_busy)


class ToolCall(BaseModel):
    name: str
    arguments: dict[str, Any]


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TextAnswer(BaseModel):
    """`response` is text; in JSON mode, the value that the text says."""

    response: Any
    usage: Usage


class CallingAnswer(TextAnswer):
    tool_calls: list[ToolCall]


Run = Envelope[CallingAnswer | TextAnswer]
