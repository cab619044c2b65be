// An answer as models write it: fenced code, headings, `code` and **bold** get their form, everything else stays as it
// came. It goes in as text nodes, never as markup.
const FENCED = /^```[^\n`]*\n([\s\S]*?)\n?^```[ \t]*$\n?/m;
const HEADING = /^#{1,6} (.+)$/m;
const INLINE = /`([^`\n]+)`|(?<![\w*])\*\*(?=[^\s*])([^*\n]*[^\s*])\*\*(?![\w*])/g; // 2**3**4 is no bold 3

export function written(text) {
  const all = document.createDocumentFragment();
  text.split(FENCED).forEach((part, index) => {
    if (index % 2) all.append(make("pre", part));
    else part.split(HEADING).forEach((piece, at) => all.append(at % 2 ? make("strong", piece) : inline(piece)));
  });
  return all;
}

function inline(text) {
  const all = document.createDocumentFragment();
  let done = 0;
  for (const { 0: found, 1: code, 2: bold, index } of text.matchAll(INLINE)) {
    all.append(text.slice(done, index), make(code === undefined ? "strong" : "code", code ?? bold));
    done = index + found.length;
  }
  all.append(text.slice(done));
  return all;
}

function make(name, textContent) {
  return Object.assign(document.createElement(name), { textContent });
}
