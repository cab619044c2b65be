// Boards and teams: who speaks, and how the phases of the work go. The same live and from what a message keeps of it.
import { filled } from "./app_texts.js";

export class Meetings {
  #texts; #talk;

  constructor({ texts, talk }) {
    this.#texts = texts;
    this.#talk = talk;
  }

  // A frame or step of the task. `isPast`: of a message; then what members came to is in the phases alone.
  take(name, data, task, isPast = false) {
    const talk = this.#talk, of = (who) => `${task} ${who}`;
    const line = (text, values = data) => talk.show("step", filled(this.#texts[text], values));
    const names = () => data.experts.map((one) => one.name).join(", ");
    if (name === "board_started") line("board", { names: names() });
    else if (name === "team_formed") line("team", { names: names() });
    else if (name === "expert_speech_chunk") talk.draft(of(data.expert_id), task, data, data.expert_name);
    else if (name === "team_synthesis_chunk") talk.draft(of("synthesis"), task, data);
    else if (name === "expert_result_chunk") talk.draft(data.child, task, data, data.expert_name);
    else if (name === "expert_result_chunk_reset") talk.drop(data.child);
    else if (name === "expert_speech") this.#said(of(data.expert_id), data.content, data.expert_name);
    else if (name === "expert_result") this.#said(data.child, data.content, data.expert_name);
    else if (name === "round_summary") this.summary(data.moderator_name, data, of(data.moderator_id));
    else if (name === "expert_step" && data.content) talk.show("step", `${data.expert_name}: ${data.content}`);
    else if (name === "expert_silent") {
      talk.drop(of(data.expert_id));
      line("silent", { name: data.expert_name });
    } else if (name === "phase_started") line("phaseStarted");
    else if (name === "phase_completed") {
      if (isPast) talk.show("assistant", data.content, data.expert_name);
      line("phaseCompleted");
    } else if (name === "phase_failed") line("phaseFailed");
    else if (name === "risk_flagged") line("risk");
    else if (name === "review_result" && !data.accepted) line("rejected");
  }

  // What a moderator says of a round.
  summary(name, { content, round }, draft = "") {
    this.#said(draft, content, filled(this.#texts.round, { name, round }));
  }

  #said(draft, content, by) {
    this.#talk.drop(draft);
    this.#talk.show("assistant", content, by);
  }
}
