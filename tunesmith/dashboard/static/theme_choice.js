// Light, dark, or as the system has it.
import { useState } from "preact/hooks";
import { html } from "./html.js";

const NAME = "tunesmith.theme";

export function ThemeChoice() {
  const [chosen, setChosen] = useState(localStorage.getItem(NAME) ?? "system");
  function choose(theme) {
    const { dataset } = document.documentElement;
    if (theme === "system") {
      localStorage.removeItem(NAME);
      delete dataset.theme;
    } else {
      localStorage.setItem(NAME, theme);
      dataset.theme = theme;
    }
    setChosen(theme);
  }
  return html`<label class="theme"><span class="quiet">Theme</span>
    <select value=${chosen} onChange=${(event) => choose(event.target.value)}>
      <option value="system">System</option><option value="light">Light</option><option value="dark">Dark</option>
    </select></label>`;
}
