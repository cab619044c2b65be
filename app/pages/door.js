// The form that asks for an API key in the place of a page's `main`. What is typed is the page's, and gone with it.
const main = document.querySelector("main");
const form = document.createElement("form");
const [label, input, button] = ["label", "input", "button"].map((name) => document.createElement(name));
Object.assign(form, { id: "door", hidden: true });
Object.assign(input, { id: "key", type: "password", required: true, autocomplete: "current-password" });
label.htmlFor = input.id;
label.dataset.text = "askKey";
button.dataset.text = "enter";
form.append(label, input, button);
main.before(form);

export const door = {
  get isOpen() { return !form.hidden; },
  open() {
    main.hidden = true;
    form.hidden = false;
    input.value = "";
    input.focus();
  },
  close() {
    form.hidden = true;
    main.hidden = false;
  },
  // `use` is called with every key that is entered.
  entered(use) {
    form.onsubmit = (event) => {
      event.preventDefault();
      const key = input.value.trim();
      input.value = "";
      use(key);
    };
  },
};
