"""From a request to an answer that can be begun: prompt, limits, tools and grammar."""

from tunesmith.engine import chat
from tunesmith.engine.answer import Answer
from tunesmith.engine.errors import (
    AdapterNotLoaded,
    BadConversation,
    BadLogitBias,
    PromptTooLong,
)
from tunesmith.engine.grammar import Constraint, Grammar, Grammars, json_grammar
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import SampleSpec
from tunesmith.engine.tool_format import tool_format
from tunesmith.engine.tool_grammar import calls_grammar, functions
from tunesmith.engine.tool_reader import ToolReader


class Preparation:
    """`max_tokens` bounds prompt and answer together, where the model's context does not."""

    def __init__(self, model: BaseModel, max_tokens: int) -> None:
        self._model = model
        self._limit = min(max_tokens, model.context_length)
        self._grammars = Grammars(model)

    def answer(self, spec: SampleSpec) -> Answer:
        """Raises `EngineError` where the request cannot be answered."""
        model = self._model
        check_adapter(model, spec.adapter_id)
        unknown = [i for i in spec.logit_bias if not 0 <= i < model.config.vocab_size]
        if unknown:
            raise BadLogitBias(
                f"`logit_bias` names the token {unknown[0]}; the model's tokens are 0 to "
                f"{model.config.vocab_size - 1}."
            )
        prompt_ids = _prompt_ids(model, spec)
        return Answer(
            spec,
            model,
            prompt_ids,
            self._max_tokens(spec, len(prompt_ids)),
            tools=self._tools(spec),
            constraint=self._constraint(spec),
        )

    def _max_tokens(self, spec: SampleSpec, num_prompt_tokens: int) -> int:
        room = self._limit - num_prompt_tokens
        needed = 0 if spec.max_tokens == 0 else 1
        if room < needed:
            of_context = "the model's context of"
            if self._limit < self._model.context_length:
                of_context = "this server's limit of"
            raise PromptTooLong(
                f"The prompt has {num_prompt_tokens} tokens; {of_context} {self._limit} leaves "
                "no room for an answer."
            )
        return room if spec.max_tokens is None else min(room, spec.max_tokens)

    def _tools(self, spec: SampleSpec) -> ToolReader | None:
        names = frozenset(functions(spec.tools))
        if not names:
            return None
        return ToolReader(tool_format(self._model.tokenizer), names)

    def _constraint(self, spec: SampleSpec) -> Constraint | None:
        grammar = self._grammar(spec)
        return None if grammar is None else self._grammars.constrain(grammar)

    def _grammar(self, spec: SampleSpec) -> Grammar | None:
        known = functions(spec.tools)
        if not spec.required_tools and (spec.json_schema is None or not known):
            return None if spec.json_schema is None else json_grammar(spec.json_schema)
        for name in spec.required_tools:
            if name not in known:
                raise BadConversation(f"There is no tool named {name}.")
        return calls_grammar(
            self._model.tokenizer,
            tool_format(self._model.tokenizer),
            {name: known[name] for name in spec.required_tools or known},
            allows_several=spec.parallel_tool_calls,
            json_schema=None if spec.required_tools else spec.json_schema,
        )


def check_adapter(model: BaseModel, adapter_id: str | None) -> None:
    if adapter_id is not None and adapter_id not in model.adapters:
        raise AdapterNotLoaded(f"The adapter {adapter_id} is not loaded.")


def check_token_ids(model: BaseModel, token_ids: list[int]) -> None:
    if not all(0 <= token_id < model.config.vocab_size for token_id in token_ids):
        raise BadConversation("The prompt holds token ids that the model does not have.")


def _prompt_ids(model: BaseModel, spec: SampleSpec) -> list[int]:
    if spec.messages is not None:
        return chat.encode_prompt(model.tokenizer, spec.messages, spec.tools)
    if spec.prompt is not None:
        prompt_ids = chat.encode_text(model.tokenizer, spec.prompt)
    else:
        prompt_ids = list(spec.prompt_token_ids or [])
    if not prompt_ids:  # something must come before the first token
        start_id = model.tokenizer.bos_token_id
        prompt_ids = [model.tokenizer.eos_token_id if start_id is None else start_id]
    check_token_ids(model, prompt_ids)
    return prompt_ids
