"""The real service with one more route: a socket whose text frames are appended, one event each.

Built by `app.server` like the service itself. The portal's own message would start a run, whose events would mix with
those under measurement. Each frame is answered with the seconds that its durable append took.
"""

import os
from pathlib import Path
from time import perf_counter
from typing import Any

from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect

from app.api.services import Services
from app.bench.plain import serve
from app.bench.sample import OWNER
from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import MessageReceived
from app.log.ids import new_id
from app.server import build_app, gateway_of
from app.settings import load
from app.telemetry import configure_logs


@websocket("/bench/send/{conversation_id:str}")
async def send(socket: WebSocket[Any, Any, Any], services: Services, conversation_id: str) -> None:
    """One text frame, one `message.received`."""
    stream = streams.conversation(OWNER, conversation_id)
    await socket.accept()
    try:
        while True:
            content = await socket.receive_text()
            started = perf_counter()
            new = NewEvent(new_id(), MessageReceived("bench", content), user_actor(OWNER))
            await services.log.append(stream, (new,))
            await socket.send_text(f"{perf_counter() - started:.9f}")
    except WebSocketDisconnect:
        return


def main() -> None:
    settings = load(os.environ, file=None)
    configure_logs(settings.log_level)
    Path(settings.data_dir).mkdir(exist_ok=True)
    app = build_app(settings, settings.database_url, gateway_of(settings))
    app.register(send)
    serve(app, settings)


if __name__ == "__main__":
    main()
