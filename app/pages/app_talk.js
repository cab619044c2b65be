// The messages of the conversation that is open, and drafts of those that are being written.
import { written } from "./app_written.js";

const MESSAGES = ["user", "assistant", "error"];
const NEAR_END_PX = 48;

// A box that shows its end goes on showing it after the `change`; one that somebody has scrolled back stays there.
export function keepEnd(box, change) {
  const isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX;
  change();
  if (isAtEnd) box.scrollTop = box.scrollHeight;
}

export class Talk {
  #box; #drafts = new Map();

  constructor(box) { this.#box = box; }

  append(node) {
    keepEnd(this.#box, () => this.#box.append(node));
    return node;
  }

  // `by`: who says it, where it is not the agent.
  show(kind, content, by = "") {
    const last = this.#box.lastElementChild;
    if (kind === "error" && last?.matches(".error") && last.textContent === content) return last;
    const node = document.createElement("div");
    node.className = MESSAGES.includes(kind) ? `message ${kind}` : "step";
    if (by) node.append(Object.assign(document.createElement("strong"), { className: "by", textContent: by }));
    node.append(kind === "assistant" ? written(content) : content);
    return this.append(node);
  }

  // A person's own message is seen wherever they have been reading.
  showOwn(content) {
    const node = this.show("user", content);
    this.#box.scrollTop = this.#box.scrollHeight;
    return node;
  }

  // Live text of the answer `id`; `reset`: this is all of it.
  draft(id, task, { content, reset }, by = "") {
    if (!this.#drafts.has(id)) {
      const node = this.show("assistant", "", by), text = node.appendChild(new Text());
      node.ariaLive = "off"; // read out once, when it is whole
      this.#drafts.set(id, { node, text, task });
    }
    const { text } = this.#drafts.get(id);
    keepEnd(this.#box, () => (reset ? (text.data = content) : text.appendData(content)));
  }

  // What was said in a draft comes whole now, or was no answer.
  drop(id) {
    this.#drafts.get(id)?.node.remove();
    this.#drafts.delete(id);
  }

  dropAll(task) {
    for (const [id, draft] of this.#drafts) if (draft.task === task) this.drop(id);
  }

  // The task has ended: what there is of its drafts stays.
  end(task) {
    for (const [id, draft] of this.#drafts) if (draft.task === task) this.#drafts.delete(id);
  }

  clear() {
    this.#drafts.clear();
    this.#box.replaceChildren();
  }
}
