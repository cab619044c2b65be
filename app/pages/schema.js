// The calls of the API, to read and to try, by Swagger UI. It is served from here and asks nobody else: no validator.
// A key that is entered is forgotten with the page.
const dark = matchMedia("(prefers-color-scheme: dark)");
const turn = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.onchange = turn;
turn();
window.SwaggerUIBundle({
  url: "/schema/openapi.json",
  domNode: document.getElementById("operations"),
  deepLinking: true,
  persistAuthorization: false,
  queryConfigEnabled: false,
  showCommonExtensions: true,
  validatorUrl: null,
});
