"""Answers: requests come over a connection that this worker opens, tokens go back over it."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import structlog
from pydantic import TypeAdapter
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from tunesmith.domain.assignments import (
    Asked,
    EmbedRequest,
    Likely,
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
_OUTPUTS = TypeAdapter(list[SampleOutput])
_RECONNECT_SECONDS = 1.0
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Answering:
    """Keeps the connection open until `close`, and passes requests on to the hosts."""

    def __init__(self, client: Client, worker: str, workshop: Workshop) -> None:
        scheme, _, place = client.server_url.partition("://")
        socket_scheme = "wss" if scheme == "https" else "ws"
        self._url = f"{socket_scheme}://{place}{PREFIX}/tokens?worker={quote(worker)}"
        self._headers = {"Authorization": f"Bearer {client.key}"}
        self._tls = client.tls
        self._workshop = workshop
        self._outputs: queue.Queue[SampleOutput] = queue.Queue()
        self._is_closed = threading.Event()
        # Having a base model and an adapter resident may take a while; others need not wait.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="prepare")
        self._adapter_lock = threading.Lock()

    def start(self, hosts: Hosts) -> None:
        threading.Thread(
            target=self._stay_connected, args=(hosts,), daemon=True, name="answers"
        ).start()

    def close(self) -> None:
        self._is_closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def tell(self, event: SampleEvent) -> None:
        """What a host says about an answer; may be called from any thread."""
        self._outputs.put(_output(event))

    def _stay_connected(self, hosts: Hosts) -> None:
        while not self._is_closed.is_set():
            try:
                with connect(
                    self._url,
                    additional_headers=self._headers,
                    max_size=_MAX_MESSAGE_BYTES,
                    proxy=None,
                    ssl=self._tls,
                ) as socket:
                    self._serve(socket, hosts)
            except (OSError, WebSocketException) as error:
                log.warning("no connection for answers", reason=str(error))
            time.sleep(_RECONNECT_SECONDS)

    def _serve(self, socket: ClientConnection, hosts: Hosts) -> None:
        is_open = threading.Event()
        is_open.set()
        sender = threading.Thread(target=self._send_outputs, args=(socket, is_open), daemon=True)
        sender.start()
        try:
            for line in socket:
                message = _INCOMING.validate_json(line)
                if isinstance(message, SampleCancel):
                    hosts.cancel(message.request_id)
                else:
                    self._pool.submit(self._begin, message, hosts)
        finally:
            is_open.clear()
            hosts.cancel_all()  # who asked has been told of the lost connection
            sender.join()

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

    def _send_outputs(self, socket: ClientConnection, is_open: threading.Event) -> None:
        """Everything that is there goes in one message."""
        while is_open.is_set():
            try:
                outputs = [self._outputs.get(timeout=0.2)]
            except queue.Empty:
                continue
            while not self._outputs.empty():
                outputs.append(self._outputs.get_nowait())
            try:
                socket.send(_OUTPUTS.dump_json(outputs).decode())
            except (OSError, WebSocketException):
                return


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
