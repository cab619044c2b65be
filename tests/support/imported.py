"""What every service process imports sooner or later, for the process that they are forked from (`forked.py`)."""

import gc

import anyio._backends._asyncio  # noqa: F401
import uvicorn.loops.auto  # noqa: F401
import uvloop  # noqa: F401

import app.cli
import app.commands.run  # noqa: F401

gc.collect()
gc.freeze()  # or the collector of each child copies what it looks through
