"""What can go wrong in the engine.

EngineError            code: a stable slug · message: a sentence
├── BadExample         a row that cannot be trained on (line)
├── BadConversation    messages that the model's chat template cannot render
├── UnsupportedModel   weights, template or layers that the engine does not take
├── BadAdapter         an adapter folder that does not fit the base model
├── AdapterNotLoaded   an adapter id that nobody loaded, or that was removed meanwhile
├── BadCheckpoint      a checkpoint folder that is partial, altered, or of another run
├── PromptTooLong      the prompt leaves no room for an answer
├── BadLogitBias       a bias on a token that the model does not have
├── BadSchema          a JSON schema or function that an answer cannot be held to
├── OutOfMemory
├── DiskFull           a checkpoint or an adapter could not be written
└── Diverged           the loss is not a number any more
"""


class EngineError(Exception):
    code = "engine_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadExample(EngineError):
    """`line` counts from 1; `file` is "training" or "validation"."""

    code = "bad_example"

    def __init__(self, message: str, *, line: int, file: str = "training") -> None:
        super().__init__(message)
        self.line = line
        self.file = file


class BadConversation(EngineError):
    code = "bad_conversation"


class UnsupportedModel(EngineError):
    code = "unsupported_model"


class BadAdapter(EngineError):
    code = "bad_adapter"


class AdapterNotLoaded(EngineError):
    code = "adapter_not_loaded"


class BadCheckpoint(EngineError):
    code = "bad_checkpoint"


class PromptTooLong(EngineError):
    code = "prompt_too_long"


class BadLogitBias(EngineError):
    code = "bad_logit_bias"


class BadSchema(EngineError):
    code = "bad_schema"


class OutOfMemory(EngineError):
    code = "out_of_memory"


class DiskFull(EngineError):
    code = "disk_full"


class Diverged(EngineError):
    code = "diverged"
