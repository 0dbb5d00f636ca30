// Export of a search: downloads, and folders on the server's disk.

import { api } from "./api.js";
import { dialog } from "./dialogs.js";
import { h, toast } from "./dom.js";
import { words } from "./words.js";

const ON_DISK = ["links", "copies"];

/** Ask how to export a search, and do it. `cut`: images above the cut-off of the ranking. */
export async function exportSearch(search, cut) {
  const formats = Object.entries(words.export.formats).map(([format, text], index) =>
    h("label", {}, h("input", { type: "radio", name: "format", value: format, checked: index === 0 }), text),
  );
  const choice = h("fieldset", {}, h("legend", {}, words.export.format), formats);
  const above = h("input", { type: "checkbox" });
  let told = "";
  const act = async () => {
    const format = choice.querySelector("input:checked").value;
    const first = above.checked ? cut : null;
    told = ON_DISK.includes(format) ? await written(search.id, format, first) : await downloaded(search.id, format, first);
  };
  const content = [choice, cut > 0 && h("label", { class: "check" }, above, words.export.above(cut))];
  if (await dialog({ title: words.export.title, content, accept: words.export.go, act })) toast(told);
}

async function written(id, format, first) {
  const { files, folder, skipped } = await api.write(id, { format, above: null, first });
  return words.export.written(files, folder, skipped);
}

async function downloaded(id, format, first) {
  const response = await api.download(id, { format, first });
  const named = /filename\*=utf-8''([^;]+)/.exec(response.headers.get("Content-Disposition") ?? "");
  const name = named ? decodeURIComponent(named[1]) : `${words.name}.${format}`;
  const address = URL.createObjectURL(await response.blob());
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return words.export.downloaded(name);
}
