"""How many frames a second one socket may send."""

BURST_SECONDS = 3.0


class FrameRate:
    """A token bucket: `per_second` frames on average, three times as many at once. 0: no limit.

    What is refused does not count against the bucket, so whoever slows down is heard again at once.
    """

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * BURST_SECONDS)
        self._left = self._burst
        self._seen = now
        self._refused = 0

    def take(self, now: float) -> bool:
        """Whether a frame at `now` (seconds, any clock that does not go backwards) is within the limit."""
        if not self._per_second:
            return True
        self._left = min(self._burst, self._left + (now - self._seen) * self._per_second)
        self._seen = now
        if self._left >= self._burst:
            self._refused = 0
        if self._left < 1:
            self._refused += 1
            return False
        self._left -= 1
        return True

    @property
    def goes_on(self) -> bool:
        """Whether it has been over the limit for as many frames as a burst has, without ever slowing down."""
        return self._refused >= self._burst
