// A browser loads no module, model or wasm from file://, so this one line of plain script says it.
"use strict";
if (location.protocol === "file:") {
  document.getElementById("say").textContent =
    'This page cannot run from a file: run "python -m http.server" in its folder, then open http://localhost:8000';
}
