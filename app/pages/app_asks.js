// What runs ask of people, as cards: a question with a field, a call that needs consent with two buttons. A card goes
// when the log says that it was answered, by whomever, or that it is too late; what came of it stays as a line.
export class Asks {
  #cards = new Map(); #texts; #show; #send; #answered;

  // `show` puts a node where the conversation is, `send` sends a frame, `answered` is called when somebody has written.
  constructor({ texts, show, send, answered }) {
    this.#texts = texts;
    this.#show = show;
    this.#send = send;
    this.#answered = answered;
  }

  // A step of the task, where it is about a question or a consent.
  take(name, data, task) {
    const texts = this.#texts;
    if (name === "ask_human") this.#ask(data, task);
    else if (name === "confirmation_request") this.#confirm(data, task);
    else if (name === "human_answered") this.#settle(data.request_id, data.content);
    else if (name === "human_unanswered") this.#settle(data.request_id, texts.unanswered);
    else if (name === "confirmation_result") {
      const refused = data.reason ? texts.expired : texts.refused;
      this.#settle(data.confirmation_id, data.approved ? texts.approved : refused);
    }
  }

  // What was sent may have been lost, or not taken: it can be sent again.
  ready() {
    for (const { controls } of this.#cards.values()) controls.disabled = false;
  }

  // The task has ended: nobody waits any more.
  end(task) {
    for (const [id, card] of this.#cards) if (card.task === task) this.#remove(id, card);
  }

  clear() {
    for (const [id, card] of this.#cards) this.#remove(id, card);
  }

  #ask(data, task) {
    const { request_id } = data;
    const field = make("textarea", { rows: 1, required: true, ariaLabel: data.question });
    const button = make("button", { textContent: this.#texts.answer });
    const form = this.#card(request_id, task, data, data.question, [make("p", { textContent: data.question })], [field, button]);
    form.onsubmit = (event) => {
      event.preventDefault();
      const content = field.value.trim();
      if (!content) return;
      this.#answer(request_id, { type: "reply", request_id, content });
      this.#answered();
    };
    field.onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
    };
  }

  #confirm(data, task) {
    const { confirmation_id } = data;
    const button = (textContent, approved, className) => {
      const node = make("button", { type: "button", textContent, className });
      node.onclick = () => this.#answer(confirmation_id, { type: "confirmation_reply", confirmation_id, approved });
      return node;
    };
    const about = [make("p", { textContent: data.reason || this.#texts.consent }), make("code", { textContent: data.command })];
    const buttons = [button(this.#texts.approve, true, "yes"), button(this.#texts.refuse, false, "no")];
    this.#card(confirmation_id, task, data, data.command, about, buttons).onsubmit = (event) => event.preventDefault();
  }

  #card(id, task, data, asked, about, controls) {
    const form = make("form", { className: "ask" });
    const all = make("fieldset");
    all.append(...controls);
    if (data.expert_name) form.append(make("strong", { textContent: data.expert_name }));
    form.append(...about, all, make("small", { textContent: this.#deadline(data.deadline_at) }));
    const known = this.#cards.get(id);
    if (known) this.#remove(id, known);
    this.#cards.set(id, { form, asked, task, controls: all });
    this.#show(form);
    return form;
  }

  #deadline(text) {
    const until = new Date(text), today = until.toDateString() === new Date().toDateString();
    const time = until.toLocaleString(undefined, { timeStyle: "medium", ...(today ? {} : { dateStyle: "medium" }) });
    return this.#texts.deadline.replace("{time}", time);
  }

  #answer(id, frame) {
    this.#cards.get(id).controls.disabled = true;
    this.#send(frame);
  }

  #settle(id, outcome) {
    const card = this.#cards.get(id);
    if (!card) return;
    this.#cards.delete(id);
    card.form.replaceWith(make("div", { className: "step", textContent: `${card.asked} → ${outcome}` }));
  }

  #remove(id, card) {
    this.#cards.delete(id);
    card.form.remove();
  }
}

function make(name, values = {}) {
  return Object.assign(document.createElement(name), values);
}
