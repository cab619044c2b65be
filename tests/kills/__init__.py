"""The kill harness: a real service process that dies by SIGKILL at every append, and at random, and is started again.

    python -m tests.kills --kills 10000        prints a table; `tests/faults/test_kills.py` is the same in CI's time

    harness ──► fork server (has imported everything) ──► service process (HTTP, Postgres) ── dies ──► the next one
      │  client: sends messages, answers questions, tries again after a kill         ▲
      └─ arms the trap: "before (or after) the n-th append to this stream" ──────────┘

`docs/kills.md` says what is checked.
"""
