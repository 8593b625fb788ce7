"""The wire: what all requests for an answer share, and the forms of tools and schemas."""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, model_validator

from tunesmith.domain.errors import InvalidRequest
from tunesmith.wire.json_body import Request, check_json

MAX_CHOICES = 128
MAX_STOPS = 4
MAX_TOOLS = 128
MAX_BIASES = 1024
MAX_BIAS = 100
MAX_TOP_LOGPROBS = 20
ANY_OBJECT: dict[str, Any] = {"type": "object"}  # what an answer in JSON mode keeps to
MAX_TOKEN_ID = 2**31 - 1

# https://platform.openai.com/docs/api-reference/chat/create, `response_format` and `tools`
Name = Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")]


def joined_text(content: Any, kinds: Mapping[str, str], param: str) -> Any:
    """Parts in one string; `kinds` says under which key each kind of part has its text."""
    if not isinstance(content, list):
        return content
    return "".join(_text_of(part, kinds, param) for part in content)


def _text_of(part: Any, kinds: Mapping[str, str], param: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise InvalidRequest(
            f"Parts of type {kind!r} are not available in `{param}`; "
            f"known are: {', '.join(kinds)}.",
            param=param,
        )
    text = part.get(kinds[kind])
    if not isinstance(text, str):
        raise InvalidRequest(f"A part of type {kind!r} needs a `{kinds[kind]}`.", param=param)
    return text


def _stops(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    is_list = isinstance(stops, list) and all(isinstance(text, str) for text in stops)
    if not is_list or len(stops) > MAX_STOPS:
        raise ValueError(f"must be a string or a list of at most {MAX_STOPS} strings")
    return tuple(text for text in stops if text)


def _biases(biases: Any) -> dict[int, float]:
    if biases is None:
        return {}
    if not isinstance(biases, dict) or len(biases) > MAX_BIASES:
        raise ValueError(f"must be an object of at most {MAX_BIASES} token ids")
    return {_bias_token(token): _bias(bias) for token, bias in biases.items()}


def _bias_token(token: str) -> int:
    if not (token.isascii() and token.isdigit()) or len(token) > 10 or int(token) > MAX_TOKEN_ID:
        raise ValueError(f"{token[:20]!r} is not a token id")
    return int(token)


def _bias(bias: Any) -> float:
    is_number = isinstance(bias, int | float) and not isinstance(bias, bool)
    if not is_number or not -MAX_BIAS <= bias <= MAX_BIAS:
        raise ValueError(f"a bias must be a number from -{MAX_BIAS} to {MAX_BIAS}")
    return float(bias)


def _token_lists(given: Any) -> list[str | list[int]]:
    """Text, token ids, or a list of either."""
    texts = given if isinstance(given, list) and not _is_text(given) else [given]
    if not texts or not all(map(_is_text, texts)):
        raise ValueError("must be a string, a list of token ids, or a list of either")
    return texts


def _is_text(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    return _is_all_whole(value) and min(value) >= 0 and max(value) <= MAX_TOKEN_ID


def _is_all_whole(values: list[Any]) -> bool:
    """True and false are no numbers here."""
    return set(map(type, values)) == {int}


Stops = Annotated[
    tuple[str, ...], PlainValidator(_stops, json_schema_input_type=str | list[str] | None)
]
LogitBias = Annotated[
    dict[int, float],
    PlainValidator(_biases, json_schema_input_type=dict[str, float] | None),
]
Texts = Annotated[
    list[str | list[int]],
    PlainValidator(
        _token_lists, json_schema_input_type=str | list[str] | list[int] | list[list[int]]
    ),
]


class Part(Request):
    """An object inside of a body."""

    @model_validator(mode="before")
    @classmethod
    def _is_object(cls, part: Any) -> Any:
        if not isinstance(part, dict):
            raise ValueError("must be an object")
        return part


class TypedPart(Part):
    """A part of which the original has kinds, in `PLACE`, that we do not know."""

    PLACE: ClassVar[str]
    KINDS: ClassVar[Collection[str]] = ("function",)

    @model_validator(mode="before")
    @classmethod
    def _is_known(cls, part: Any) -> Any:
        kind = part.get("type", "") if isinstance(part, dict) else ""
        if isinstance(kind, str) and kind and kind not in cls.KINDS:
            raise InvalidRequest(
                f"Those of type {kind!r} are not available in `{cls.PLACE}`; "
                f"known are: {', '.join(cls.KINDS)}.",
                param=cls.PLACE,
            )
        return part


class StreamOptions(Part):
    IGNORED: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool | None = Field(None, description="a last part that counts the tokens")


class CreateAnswer(Request):
    """What every request for answers says."""

    model: str = Field(description="the name or alias of a base model, or a tuned one's name")

    @classmethod
    def _is_heeded(cls, name: str, value: Any) -> bool:
        is_heeded = super()._is_heeded(name, value)
        if is_heeded:
            check_json(value, name)
        return is_heeded


class CreateChoices(CreateAnswer):
    """What chat completions and completions say alike about how to draw the tokens."""

    temperature: float | None = Field(
        None, ge=0, le=2, description="1 unless given; at 0 the likeliest token is taken"
    )
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES, description="how many answers")
    stop: Stops = Field((), description="up to 4 texts; the answer ends before one")
    seed: int | None = Field(
        None, ge=-(2**63), lt=2**63, description="the same one draws alike, if not to the letter"
    )
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: LogitBias = Field(
        default_factory=dict, description="token ids of the model's own tokenizer: -100 to 100"
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def num_choices(self) -> int:
        return self.n or 1

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class FunctionDefinition(Part):
    """The arguments keep to the parameters where a call is required, `strict` or not."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"strict"})

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """What the model is shown."""
        shown = {"name", "description", "parameters"}
        return {"type": "function", "function": self.model_dump(include=shown, exclude_none=True)}


class JsonSchema(Part):
    """`strict` or not, the answer keeps to the schema."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"description"})

    name: Name
    strict: bool | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")


def check_names(names: Iterable[str], tools: Iterable[dict[str, Any]], param: str) -> None:
    """Only what is there can be called."""
    known = {tool["function"]["name"] for tool in tools}
    for name in names:
        if name not in known:
            raise InvalidRequest(f"{param}: there is no function {name!r} to call.", param=param)
