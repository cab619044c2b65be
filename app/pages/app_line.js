// A socket that comes back: after a second, then later and later, at most after half a minute. Only a key that is not
// taken ends it. The key goes in the first frame, never in an address.
const PING_MS = 30_000, RETRY_MS = 1_000, RETRY_MS_MAX = 30_000;
const PING = '{"type":"ping"}', UNAUTHORIZED = 4001, REFUSED = 1008;

export class Line {
  #how; #socket = null; #ended = false; #retryMs = RETRY_MS;

  // `address` and `key` are asked for at each opening; then `opened`, at its first answer `accepted`, for every frame
  // `received`, `lost` when it ends and is to come back, and `refused` when it ends for good.
  constructor(how) {
    this.#how = how;
    this.#open();
  }

  get isOpen() { return this.#socket?.readyState === WebSocket.OPEN; }

  send(frame) { if (this.isOpen) this.#socket.send(JSON.stringify(frame)); }

  close() {
    this.#ended = true;
    this.#socket.close();
  }

  #open() {
    const how = this.#how, key = how.key();
    const mine = this.#socket = new WebSocket(location.origin.replace("http", "ws") + how.address());
    const ping = setInterval(() => mine.readyState === WebSocket.OPEN && mine.send(PING), PING_MS);
    let accepted = false;
    mine.onopen = () => {
      if (this.#ended) return;
      if (key) this.send({ type: "auth", api_key: key });
      mine.send(PING); // who is refused gets no answer to it
      how.opened?.();
    };
    mine.onmessage = ({ data }) => {
      if (this.#ended) return;
      const frame = JSON.parse(data);
      if (!accepted && frame.type !== "error") {
        accepted = true;
        this.#retryMs = RETRY_MS;
        how.accepted?.();
      }
      how.received(frame);
    };
    mine.onclose = ({ code }) => {
      clearInterval(ping);
      if (this.#ended) return;
      if (code === UNAUTHORIZED) {
        this.#ended = true;
        return how.refused();
      }
      how.lost?.();
      const again = () => this.#ended || this.#open();
      // One of more sockets than a user may have. A page that nobody sees would take one from another page, and so on.
      if (code === REFUSED && document.hidden) return document.addEventListener("visibilitychange", again, { once: true });
      setTimeout(again, this.#retryMs * (0.5 + Math.random()));
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    };
  }
}
