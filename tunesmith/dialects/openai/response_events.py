"""A response of the Responses API as it comes: named and numbered events."""

from collections.abc import Iterator
from typing import Any

from tunesmith.dialects.openai import schemas_response_objects as objects
from tunesmith.dialects.openai.translate_responses import (
    Draft,
    Item,
    Message,
    call_item,
    logprobs,
    status_of,
)
from tunesmith.domain.assignments import SampleOutput, SamplePart, ToolCall
from tunesmith.domain.errors import TunesmithError
from tunesmith.wire.streams import Frame


class ResponseFrames:
    """The events of a streamed response, numbered from 0."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._num_events = 0
        self._message: Message | None = None
        self._end: SampleOutput | None = None

    def opening(self) -> Iterator[Frame]:
        yield self._event("response.created", response=self._draft.in_progress())
        yield self._event("response.in_progress", response=self._draft.in_progress())

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.text or (output.logprobs and self._message is not None):
            yield from self._write(output)
        if output.tool_call is not None:
            yield from self._finish_message("completed")
            yield from self._call(output.tool_call)
        if output.part is SamplePart.DONE:
            self._end = output
            if self._message is None and not self._draft.items:
                yield from self._begin_message()
            yield from self._finish_message(status_of(output))

    def closing(self) -> Iterator[Frame]:
        assert self._end is not None
        whole = self._draft.ended(self._end)
        yield self._event(f"response.{whole.status}", response=whole)

    def failure(self, error: TunesmithError) -> Iterator[Frame]:
        if self._message is not None:
            self._draft.items.append(self._message.item("incomplete"))
        yield self._event("response.failed", response=self._draft.failed(error))

    def _write(self, output: SampleOutput) -> Iterator[Frame]:
        yield from self._begin_message()
        assert self._message is not None
        drawn = logprobs(output.logprobs)
        self._message.pieces.append(output.text)
        self._message.logprobs += drawn
        yield self._text_event("response.output_text.delta", delta=output.text, logprobs=drawn)

    def _begin_message(self) -> Iterator[Frame]:
        if self._message is not None:
            return
        self._message = Message()
        item = objects.OutputMessage(id=self._message.id, status="in_progress", content=[])
        yield self._item_event("response.output_item.added", item)
        yield self._text_event("response.content_part.added", part=self._message.content())

    def _finish_message(self, status: objects.ItemStatus) -> Iterator[Frame]:
        if self._message is None:
            return
        content, item = self._message.content(), self._message.item(status)
        yield self._text_event(
            "response.output_text.done", text=content.text, logprobs=content.logprobs
        )
        yield self._text_event("response.content_part.done", part=content)
        yield self._item_event("response.output_item.done", item)
        self._message = None
        self._draft.items.append(item)

    def _call(self, call: ToolCall) -> Iterator[Frame]:
        item = call_item(call)
        begun = item.model_copy(update={"arguments": "", "status": "in_progress"})
        yield self._item_event("response.output_item.added", begun)
        place = {"item_id": item.id, "output_index": len(self._draft.items)}
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            name=call.name,
            arguments=call.arguments,
        )
        yield self._item_event("response.output_item.done", item)
        self._draft.items.append(item)

    def _item_event(self, kind: str, item: Item) -> Frame:
        return self._event(kind, output_index=len(self._draft.items), item=item)

    def _text_event(self, kind: str, **fields: Any) -> Frame:
        assert self._message is not None
        place = {"item_id": self._message.id, "output_index": len(self._draft.items)}
        return self._event(kind, **place, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> Frame:
        number = self._num_events
        self._num_events += 1
        plain = {name: _plain(value) for name, value in fields.items()}
        return {"type": kind, "sequence_number": number, **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value
