"""Answers: requests come over a connection that this worker opens, tokens go back over it."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import structlog
from pydantic import TypeAdapter
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tunesmith.domain.assignments import (
    Answered,
    Asked,
    EmbedRequest,
    JobsWait,
    Likely,
    News,
    NoMoreRequests,
    SampleCancel,
    SampleOutput,
    SamplePart,
    SampleRequest,
    TokenLogprob,
    ToolCall,
)
from tunesmith.domain.errors import TunesmithError
from tunesmith.engine import events
from tunesmith.engine.events import (
    Embedded,
    SampleDone,
    SampleEvent,
    SampleFailed,
    TextDelta,
    ToolCalled,
)
from tunesmith.engine.messages import Embed, Sample
from tunesmith.engine.spec import EmbedSpec, SampleSpec
from tunesmith.worker.client import PREFIX, Client
from tunesmith.worker.placing import Hosts
from tunesmith.worker.prepare import Workshop

log = structlog.get_logger()

_INCOMING: TypeAdapter[Asked] = TypeAdapter(Asked)
_ANSWERED: TypeAdapter[list[Answered]] = TypeAdapter(list[Answered])
_RECONNECT_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Answering:
    """Keeps the connection open until `close`, and passes requests on to the hosts.

    Once `is_leaving` is set the server is told, and sends no more of them.
    """

    def __init__(
        self,
        client: Client,
        worker: str,
        workshop: Workshop,
        is_leaving: threading.Event,
    ) -> None:
        scheme, _, place = client.server_url.partition("://")
        socket_scheme = "wss" if scheme == "https" else "ws"
        self._url = f"{socket_scheme}://{place}{PREFIX}/tokens?worker={quote(worker)}"
        self._headers = {"Authorization": f"Bearer {client.key}"}
        self._tls = client.tls
        self._workshop = workshop
        self._is_leaving = is_leaving
        self._is_connected = threading.Event()
        self._has_all_requests = threading.Event()  # none comes after those that are open
        self._open: set[str] = set()  # requests whose last part has not been sent
        self._outputs: queue.Queue[SampleOutput] = queue.Queue()
        self._is_closed = threading.Event()
        # Having a base model and an adapter resident may take a while; others need not wait.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="prepare")
        self._adapter_lock = threading.Lock()

    def start(self, hosts: Hosts, heed: Callable[[News], None]) -> None:
        """`heed` hears what news the server has, and with each connection that jobs may wait: the
        server may have said so before.
        """
        threading.Thread(
            target=self._stay_connected, args=(hosts, heed), daemon=True, name="answers"
        ).start()

    def finish(self) -> None:
        """For a worker that is leaving: all that was asked of it is answered."""
        while self._is_connected.is_set() and not (
            self._has_all_requests.is_set() and not self._open
        ):
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        self._is_closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tell(self, event: SampleEvent) -> None:
        """What a host says about an answer; may be called from any thread."""
        self._outputs.put(_output(event))

    def _stay_connected(self, hosts: Hosts, heed: Callable[[News], None]) -> None:
        while not (self._is_closed.is_set() or self._is_leaving.is_set()):
            try:
                with connect(
                    self._url,
                    additional_headers=self._headers,
                    max_size=_MAX_MESSAGE_BYTES,
                    proxy=None,
                    ssl=self._tls,
                ) as socket:
                    self._serve(socket, hosts, heed)
            except (OSError, WebSocketException) as error:
                log.warning("no connection for answers", reason=str(error))
            time.sleep(_RECONNECT_SECONDS)

    def _serve(self, socket: ClientConnection, hosts: Hosts, heed: Callable[[News], None]) -> None:
        self._is_connected.set()
        heed(JobsWait(jobs_wait=True))
        sender = threading.Thread(target=self._send_outputs, args=(socket,), daemon=True)
        sender.start()
        try:
            for line in socket:
                message = _INCOMING.validate_json(line)
                if isinstance(message, News):
                    heed(message)
                else:
                    self._take(message, hosts)
        finally:
            self._is_connected.clear()
            self._open.clear()
            hosts.cancel_all()  # who asked has been told of the lost connection
            sender.join()

    def _take(
        self, message: SampleRequest | EmbedRequest | SampleCancel | NoMoreRequests, hosts: Hosts
    ) -> None:
        match message:
            case NoMoreRequests():
                self._has_all_requests.set()
            case SampleCancel(request_id=request_id):
                hosts.cancel(request_id)
                self._open.discard(request_id)
            case _:
                self._open.add(message.request_id)
                self._pool.submit(self._begin, message, hosts)

    def _begin(self, request: SampleRequest | EmbedRequest, hosts: Hosts) -> None:
        base = request.base_model
        try:
            host = hosts.place(base, lambda: self._workshop.model_folder(base))
            adapter = request.adapter
            if adapter is not None:
                with self._adapter_lock:
                    host.ensure_adapter(adapter.id, lambda: self._workshop.adapter_folder(adapter))
        except (TunesmithError, OSError) as error:
            failed = SampleFailed(
                request_id=request.request_id, code="unavailable", message=str(error)
            )
            self.tell(failed)
            return
        host.answer(_command(request))

    def _send_outputs(self, socket: ClientConnection) -> None:
        """Everything that is there goes in one message."""
        has_said_goodbye = False
        while self._is_connected.is_set():
            outputs = self._next_outputs()
            answered: list[Answered] = [*outputs]
            if self._is_leaving.is_set() and not has_said_goodbye:
                answered.append(NoMoreRequests(no_more_requests=True))
                has_said_goodbye = True
            if not answered:
                continue
            try:
                socket.send(_ANSWERED.dump_json(answered).decode())
            except (OSError, WebSocketException):
                return
            self._open -= {output.request_id for output in outputs if output.is_last}

    def _next_outputs(self) -> list[SampleOutput]:
        """Those that there are; none where none comes for a moment."""
        try:
            outputs = [self._outputs.get(timeout=_LOOK_SECONDS)]
        except queue.Empty:
            return []
        while not self._outputs.empty():
            outputs.append(self._outputs.get_nowait())
        return outputs


def _command(request: SampleRequest | EmbedRequest) -> Sample | Embed:
    if isinstance(request, SampleRequest):
        return Sample(spec=_spec(request))
    adapter_id = request.adapter.id if request.adapter else None
    return Embed(
        spec=EmbedSpec(
            request_id=request.request_id,
            adapter_id=adapter_id,
            text=request.text,
            token_ids=request.token_ids,
        )
    )


def _spec(request: SampleRequest) -> SampleSpec:
    return SampleSpec(
        request_id=request.request_id,
        adapter_id=request.adapter.id if request.adapter else None,
        messages=request.messages,
        prompt=request.prompt,
        prompt_token_ids=request.prompt_token_ids,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        top_k=request.top_k,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        repetition_penalty=request.repetition_penalty,
        stop=request.stop,
        seed=request.seed,
        logit_bias=request.logit_bias,
        top_logprobs=request.top_logprobs,
        echo=request.echo,
        tools=request.tools,
        required_tools=request.required_tools,
        parallel_tool_calls=request.parallel_tool_calls,
        json_schema=request.json_schema,
    )


def _output(event: SampleEvent) -> SampleOutput:
    match event:
        case TextDelta():
            return SampleOutput(
                request_id=event.request_id,
                part=SamplePart.DELTA,
                text=event.text,
                completion_tokens=event.num_tokens,
                logprobs=tuple(map(_logprob, event.logprobs)),
            )
        case ToolCalled():
            call = ToolCall(index=event.index, name=event.name, arguments=event.arguments)
            return SampleOutput(
                request_id=event.request_id, part=SamplePart.TOOL_CALL, tool_call=call
            )
        case Embedded():
            return SampleOutput(
                request_id=event.request_id,
                part=SamplePart.EMBEDDING,
                embedding=event.embedding,
                prompt_tokens=event.prompt_tokens,
            )
        case SampleDone():
            return SampleOutput(
                request_id=event.request_id,
                part=SamplePart.DONE,
                finish_reason=event.finish_reason,
                prompt_tokens=event.prompt_tokens,
                completion_tokens=event.completion_tokens,
            )
        case SampleFailed():
            return SampleOutput(
                request_id=event.request_id,
                part=SamplePart.FAILED,
                code=event.code,
                message=event.message,
            )


def _logprob(of: events.TokenLogprob) -> TokenLogprob:
    return TokenLogprob(
        token=of.token,
        token_bytes=of.token_bytes,
        logprob=of.logprob,
        top=tuple(
            Likely(token=t.token, token_bytes=t.token_bytes, logprob=t.logprob) for t in of.top
        ),
    )
