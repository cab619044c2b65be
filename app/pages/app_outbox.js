// Messages until the log has them. Behind a reconnect they are sent again under the same id, which the service takes once.
const ID_BYTES = 16;

export class Outbox {
  #waiting = new Map(); #send;

  // `send` sends a frame.
  constructor(send) { this.#send = send; }

  // `node` shows the message.
  add(message, node) {
    const bytes = crypto.getRandomValues(new Uint8Array(ID_BYTES)); // randomUUID is for safe origins only
    const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#waiting.set(id, { message, node, isSent: false });
  }

  // A new connection: nobody knows what became of those that were sent on the old one.
  again() {
    for (const one of this.#waiting.values()) one.isSent = false;
  }

  // Without a conversation only the first, which makes one.
  flush(conversation) {
    for (const [id, one] of this.#waiting) {
      const where = conversation === null ? {} : { conversation_id: conversation };
      if (!one.isSent) this.#send({ type: "chat", message: one.message, client_message_id: id, ...where });
      one.isSent = true;
      if (conversation === null) return;
    }
  }

  // The log has it. False: it is not from here.
  taken(id) {
    const one = this.#waiting.get(id);
    one?.node.removeAttribute("data-pending");
    return this.#waiting.delete(id);
  }

  // The service did not take the oldest that was sent. Its text, or null: all were taken.
  refused() {
    for (const [id, { message, node, isSent }] of this.#waiting) {
      if (!isSent) continue;
      node.remove();
      this.#waiting.delete(id);
      return message;
    }
    return null;
  }

  // Forgets them. The texts of those that are not on their way.
  clear() {
    const kept = [...this.#waiting.values()].filter(({ isSent }) => !isSent);
    this.#waiting.clear();
    return kept.map(({ message }) => message);
  }
}
