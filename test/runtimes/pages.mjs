/**
 * The rows of the matrix that are pages: the file of the package in a page, with and without cross-origin isolation,
 * and in a module worker; pages that bundlers build; and pages with a content security policy.
 *
 * @module
 */
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runPage, versionOf, whyMissing } from './browsers.mjs';
import { pageBundlers } from './bundlers.mjs';
import { isolation } from './site.mjs';

/** Where the library is, for import maps. */
const imports = { 'dispatch-layout': './node_modules/dispatch-layout/dist/browser.js' };

function html(script, head = '') {
  return `<!doctype html><html><head><meta charset="utf-8"><title>dispatch-layout</title>${head}
<script src="./report-errors.js"></script><script type="module" src="./${script}"></script></head></html>`;
}

/** Pages that import the file of the package without a bundler. */
export async function rawRows(project, site, options) {
  const importMap = `<script type="importmap">${JSON.stringify({ imports })}</script>`;
  await writeFile(join(project, 'page.html'), html('page.js', importMap));
  await writeFile(join(project, 'worker.html'), html('start-worker.js'));
  await writeFile(join(project, 'index.html'), html('page.js'));

  const rows = [];
  for (const browser of ['Chromium', 'Firefox']) {
    const pageIn = (headers) => `${site.add(project, { headers })}page.html`;
    const worker = site.add(project, { rewrite: (text) => rewriteImports(text, () => worker) });
    rows.push(
      pageRow(browser, 'page', pageIn({}), { isIsolated: false, isPage: true }),
      // Isolated pages have SharedArrayBuffer, in which ids and results can be.
      pageRow(browser, 'page, isolated', pageIn(isolation), { isIsolated: true, isPage: true }),
      pageRow(browser, 'worker', `${worker}worker.html`, { isIsolated: false, isPage: false }),
    );
  }
  return rows;

  function pageRow(browser, what, url, expected) {
    return {
      name: `${versionOf(browser)}, ${what}`,
      missing: whyMissing(browser),
      run: () => runPage(browser, site, url, options, expected),
    };
  }
}

/** Rewrites imports as an import map would. Import maps do not apply to workers, so the server does this for them. */
function rewriteImports(text, base) {
  return text.replace(/(\bfrom\s*|\bimport\s*)(['"])([^'"]+)\2/g, (whole, keyword, quote, name) =>
    Object.hasOwn(imports, name) ? keyword + quote + new URL(imports[name], base()) + quote : whole,
  );
}

/** The small page that imports the suite, as each bundler builds it. */
export function bundlerRows(project, folder, site, options) {
  return Object.entries(pageBundlers).map(([name, bundle]) => ({
    name: `${name}, page in Chromium`,
    missing: whyMissing('Chromium'),
    async run() {
      const built = await buildPage(project, join(folder, `built-by-${name}`), bundle);
      return runPage('Chromium', site, `${site.add(built)}index.html`, options, { isIsolated: false, isPage: true });
    },
  }));
}

/** The same page with content security policies that forbid and allow WebAssembly. */
export function policyRows(project, folder, site, options) {
  const policies = [
    {
      policy: "script-src 'self'",
      options: {
        ...options,
        expectedDevice: 'js',
        whyNoWasm: 'Content Security Policy|CSP',
        settings: { ...options.settings, DISPATCH_LAYOUT_TEST_DEVICES: 'js' },
      },
    },
    {
      policy: "script-src 'self' 'wasm-unsafe-eval'",
      options: { ...options, settings: { ...options.settings, DISPATCH_LAYOUT_TEST_DEVICES: 'wasm' } },
    },
  ];
  return ['Chromium', 'Firefox'].flatMap((browser) =>
    policies.map(({ policy, options }, index) => ({
      name: `${browser}, ${policy}`,
      missing: whyMissing(browser),
      async run() {
        const target = join(folder, `policy-${browser}-${index}`);
        const built = await buildPage(project, target, pageBundlers.esbuild);
        const url = site.add(built, { headers: { 'Content-Security-Policy': policy } });
        return runPage(browser, site, `${url}index.html`, options, { isIsolated: false, isPage: true });
      },
    })),
  );
}

/** Builds the page of the project into `target`. */
async function buildPage(project, target, bundle) {
  await bundle(project, target);
  // Only Vite also builds the HTML.
  await cp(join(project, 'index.html'), join(target, 'index.html'), { force: false });
  await cp(join(project, 'report-errors.js'), join(target, 'report-errors.js'));
  return target;
}
