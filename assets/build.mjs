// Builds static/vendor/ from the packages pinned in package.json.
//
//   tabler.min.css  tabler.min.js  htmx.min.js  chart.min.js  viewer.min.js  icons.svg  inter-*.woff2  LICENSES.txt
//   manifest.json   the version and content hash of each file, for cache busting
//
// Output depends on the inputs only, so two builds of one commit are the same bytes.

import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const OUT = path.join(ROOT, "static", "vendor");
const packagePath = (...parts) => path.join(ROOT, "node_modules", ...parts);
const read = (file) => readFile(file, "utf8");
const require = createRequire(import.meta.url);

const PACKAGES = ["@tabler/core", "@tabler/icons", "@fontsource-variable/inter", "htmx.org", "chart.js", "three"];
const versionOf = (name) => require(packagePath(name, "package.json")).version;

// Source maps are not shipped, and a browser asking for them would only log a 404.
const withoutSourceMap = (text) =>
  text.replace(/\n?(\/\/# sourceMappingURL=\S+|\/\*# sourceMappingURL=[^*]*\*\/)\s*$/, "\n");

async function bundle(name) {
  const result = await build({
    entryPoints: [path.join(ROOT, "assets", name)],
    bundle: true, minify: true, format: "iife", target: "es2020", write: false, legalComments: "none",
    nodePaths: [packagePath()],
  });
  return result.outputFiles[0].text;
}

// One sprite, used as <svg class="icon"><use href="…/icons.svg#name"></use></svg>. The line width is
// left out: Tabler's .icon class sets it, and a symbol inherits it through <use>.
async function icons() {
  const lines = (await read(path.join(ROOT, "assets", "icons.txt"))).split("\n").map((line) => line.trim());
  const names = lines.filter((line) => line && !line.startsWith("#"));
  const symbols = await Promise.all([...new Set(names)].sort().map(async (name) => {
    const svg = await read(packagePath("@tabler/icons", "icons", "outline", `${name}.svg`)).catch(() => {
      throw new Error(`assets/icons.txt names "${name}", which Tabler ${versionOf("@tabler/icons")} does not have`);
    });
    const shapes = svg
      .replace(/^[\s\S]*?<svg[^>]*>/, "").replace(/<\/svg>\s*$/, "")
      .replace(/<path stroke="none" d="M0 0h24v24H0z" fill="none" ?\/>/, "")
      .replace(/\s*\n\s*/g, "").replace(/ \/>/g, "/>");
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor"`
      + ` stroke-linecap="round" stroke-linejoin="round">${shapes}</symbol>`;
  }));
  return `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
}

// The variable font with its optical sizes: Latin, and the extension that Polish needs.
const font = (subset) =>
  readFile(packagePath(`@fontsource-variable/inter/files/inter-${subset}-opsz-normal.woff2`));

async function licences() {
  const texts = await Promise.all(PACKAGES.map(async (name) => {
    const files = (await readdir(packagePath(name))).filter((file) => /^licen[cs]e/i.test(file)).sort();
    const text = files.length ? await read(packagePath(name, files[0])) : "";
    const declared = require(packagePath(name, "package.json")).license;
    return `${name} ${versionOf(name)} (${declared})\n\n${text}`.trimEnd();
  }));
  return texts.join(`\n\n${"-".repeat(72)}\n\n`) + "\n";
}

async function main() {
  const files = {
    "tabler.min.css": ["@tabler/core", withoutSourceMap(await read(packagePath("@tabler/core/dist/css/tabler.min.css")))],
    "tabler.min.js": ["@tabler/core", withoutSourceMap(await read(packagePath("@tabler/core/dist/js/tabler.min.js")))],
    "htmx.min.js": ["htmx.org", withoutSourceMap(await read(packagePath("htmx.org/dist/htmx.min.js")))],
    "chart.min.js": ["chart.js", await bundle("chart.js")],
    // Large, so that no page names it: viewer.js asks for it where a model is looked at.
    "viewer.min.js": ["three", await bundle("viewer.js")],
    "icons.svg": ["@tabler/icons", await icons()],
    "inter-latin.woff2": ["@fontsource-variable/inter", await font("latin")],
    "inter-latin-ext.woff2": ["@fontsource-variable/inter", await font("latin-ext")],
    "LICENSES.txt": [null, await licences()],
  };
  const manifest = {};
  for (const [name, [from, text]] of Object.entries(files)) {
    manifest[name] = {
      package: from,
      version: from && versionOf(from),
      bytes: Buffer.byteLength(text),
      hash: createHash("sha256").update(text).digest("hex").slice(0, 16),
    };
  }
  files["manifest.json"] = [null, JSON.stringify(manifest, null, 2) + "\n"];

  await mkdir(OUT, { recursive: true });
  for (const old of await readdir(OUT)) {
    if (!(old in files)) await rm(path.join(OUT, old), { recursive: true });
  }
  for (const [name, [, text]] of Object.entries(files)) {
    // Renamed into place, so that a running web process never serves half a file.
    const temporary = path.join(OUT, `.${name}.new`);
    await writeFile(temporary, text);
    await rename(temporary, path.join(OUT, name));
  }
}

await main();
