"""What can go wrong with the log. Every message says what is wrong, the value, and what to do."""


class LogError(Exception):
    """Base of the errors below, for callers that treat them alike."""


class LogUnavailable(LogError):
    """The database did not answer within the limit.

    `outcome_unknown` says that the append may have been written all the same: append again with the same idempotency
    key to find out.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class LogOverloaded(LogError):
    """The queue of appends stayed full for the whole time limit. Nothing was written; try again later."""


class PayloadTooLarge(LogError):
    """An event's payload is over the limit. Nothing was written."""

    def __init__(self, kind: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the payload of {kind} has {size_bytes} bytes, the limit is {limit_bytes}; "
            "store the content as a file and append a reference to it"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class InvalidAppend(LogError):
    """The append is not well-formed: no events, too many, or text that cannot be stored. Nothing was written."""


class OffsetConflict(LogError):
    """The stream's head is not the expected offset. Read on from there, decide again, append again."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream} was expected at offset {expected}, it is at {actual}")
        self.expected = expected
        self.actual = actual


class IdempotencyMismatch(LogError):
    """The key was used before, for other events. Use a new key for a new append."""

    def __init__(self, stream: str, key: str) -> None:
        super().__init__(
            f"idempotency key {key!r} was used in stream {stream} for other events; use a new key"
        )
        self.key = key


class LeaseLost(LogError):
    """Fenced: the run's lease has another epoch by now, so another worker owns the run. Stop working on it."""

    def __init__(self, task_id: object, epoch: int) -> None:
        super().__init__(
            f"the lease of task {task_id} with epoch {epoch} is no longer held; another worker owns the run"
        )


class HoleInLog(LogError):
    """Offsets that a reader was given do not follow one another. Never expected; the reader stops instead of
    skipping.
    """

    def __init__(self, stream: str, after: int, found: int) -> None:
        super().__init__(
            f"stream {stream}: after offset {after} the log gave {found}; run `minutebook doctor`"
        )
