"""How many frames a socket may send: at an explicit clock."""

from app.api.frame_rate import FrameRate


def test_a_burst_of_three_seconds_is_taken_and_the_next_frame_is_not() -> None:
    rate = FrameRate(20, now=0.0)
    assert all(rate.take(0.0) for _ in range(60))
    assert not rate.take(0.0)
    assert rate.take(0.05)
    assert not rate.take(0.05)


def test_whoever_keeps_to_the_rate_is_never_refused() -> None:
    rate = FrameRate(20, now=0.0)
    assert all(rate.take(number / 20) for number in range(1_000))


def test_whoever_goes_on_has_as_many_refusals_as_a_burst_has_frames() -> None:
    rate = FrameRate(2, now=0.0)
    assert all(rate.take(0.0) for _ in range(6))
    for _ in range(5):
        assert not rate.take(0.0)
        assert not rate.goes_on
    assert not rate.take(0.0)
    assert rate.goes_on


def test_a_pause_makes_good() -> None:
    """Guard: without it a client that is too fast now and then would be closed in the end."""
    rate = FrameRate(2, now=0.0)
    now = 0.0
    for _ in range(10):
        for _ in range(9):
            rate.take(now)
        assert not rate.goes_on
        now += 10.0
        assert rate.take(now)


def test_0_is_no_limit() -> None:
    rate = FrameRate(0, now=0.0)
    assert all(rate.take(0.0) for _ in range(10_000))
