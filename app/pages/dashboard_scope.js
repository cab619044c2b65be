// What of everything is shown: all of it or one group alone, as it is now or as it was at a moment. Both stand in the page's
// address under the names that the API has for them (`as_of`, `agent`, `model` …), so a link shows the same.
import { make } from "./dashboard_tables.js";
import { moment, text } from "./dashboard_texts.js";

const MINUTE_MS = 60_000;

// The value of a datetime-local control: a time of the browser's zone, without the zone.
function localOf(time) {
  const at = new Date(time);
  return new Date(at - at.getTimezoneOffset() * MINUTE_MS).toISOString().slice(0, 19);
}

// A time, which the API takes in other forms too: `position:4711` has no place in a calendar.
const isTime = (asOf) => /^\d{4}-\d\d-\d\dT/.test(asOf ?? "") && !Number.isNaN(Date.parse(asOf));

// asked: the address's query; dimensions: names of those that have groups; controls: { asOf, now, group };
// changed: called with what has changed, "asOf" or "group"
export class Scope {
  constructor({ asked, dimensions, controls, changed }) {
    this.asOf = asked.get("as_of")?.trim().replace(/ (?=\d\d:?\d\d$)/, "+") || null; // a plus sign that was not escaped
    const dimension = dimensions.find((name) => asked.has(name));
    this.group = dimension ? { dimension, value: asked.get(dimension) } : null;
    this.dimensions = dimensions;
    this.controls = controls;
    this.changed = changed;
    this.offered = {};
    controls.asOf.onchange = () => {
      const { value, validity } = controls.asOf;
      if (!validity.badInput) this.look(value ? new Date(value).toISOString().replace(".000Z", "Z") : null); // else half typed
    };
    controls.now.onclick = () => {
      controls.asOf.value = "";
      this.look(null);
    };
    controls.group.onchange = () => {
      const [, chosen, value] = controls.group.value.match(/^(\w+):(.*)$/s) ?? [];
      this.group = chosen ? { dimension: chosen, value } : null;
      this.changed("group");
    };
    controls.asOf.value = isTime(this.asOf) ? localOf(this.asOf) : "";
    controls.now.hidden = this.asOf === null;
    this.showGroups();
  }

  // The control is left as it is: somebody may be typing on.
  look(asOf) {
    this.asOf = asOf;
    this.controls.now.hidden = asOf === null;
    this.changed("asOf");
  }

  // Of a question to the API.
  moment() { return this.asOf === null ? {} : { as_of: this.asOf }; }
  narrowed() { return this.group === null ? {} : { [this.group.dimension]: this.group.value }; }

  // Tells whether an answer is still that of what is chosen.
  get name() { return JSON.stringify([this.asOf, this.group]); }

  write(query) {
    for (const name of ["as_of", ...this.dimensions]) query.delete(name);
    for (const [name, value] of Object.entries({ ...this.moment(), ...this.narrowed() })) query.set(name, value);
  }

  told() { return text("asOfTold", { moment: isTime(this.asOf) ? moment(this.asOf) : this.asOf }); }

  // The groups that there are: { dimension: [{ value }] }. What is chosen is among them also where nothing of it has ended.
  offer(groups) {
    this.offered = groups;
    this.showGroups();
  }

  showGroups() {
    const { group } = this.controls;
    const parts = this.dimensions.map((name) => [name, this.valuesOf(name)]).filter(([, values]) => values.length);
    const written = JSON.stringify([text("everything"), parts]);
    if (this.written !== written) { // a list that is open must not be made anew
      this.written = written;
      group.replaceChildren(make("option", { value: "" }, text("everything")), ...parts.map(([name, values]) =>
        make("optgroup", { label: text(name) }, ...values.map((value) =>
          make("option", { value: `${name}:${value}` }, value || text("none"))))));
    }
    group.value = this.group ? `${this.group.dimension}:${this.group.value}` : "";
  }

  valuesOf(name) {
    const values = (this.offered[name] ?? []).map((one) => one.value);
    const chosen = this.group?.dimension === name ? this.group.value : null;
    return chosen === null || values.includes(chosen) ? values : [...values, chosen];
  }
}
