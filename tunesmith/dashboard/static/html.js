// Preact with templates in place of JSX, so that there is nothing to build.
import htm from "htm";
import { h } from "preact";

export const html = htm.bind(h);
