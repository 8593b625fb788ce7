// Files that the browser saves: what the server has, and what the page has worked out.
import { send } from "./api.js";

export async function saveFrom(path, name) {
  const response = await send("GET", path);
  saveBlob(await response.blob(), name);
}

export function saveText(text, name, type = "text/csv") {
  saveBlob(new Blob([text], { type }), name);
}

function saveBlob(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
