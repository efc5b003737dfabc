/**
 * Measures what `getDispatchLayout` adds to a page: all scripts that a bundler makes, minified and gzipped.
 *
 * @module
 */
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pageBundlers } from './bundlers.mjs';

/** docs/install.md promises that the size in bytes is below this. */
const limit = 24_000;

const program = `import { getDispatchLayout } from 'dispatch-layout';
globalThis.layout = getDispatchLayout([[0, 5]], 8, { numRanks: 4 });
`;

/** One row for each bundler. */
export function sizeRows(project, folder) {
  return Object.entries(pageBundlers).map(([name, bundle]) => ({
    name: `${name}, size of a page that imports one function`,
    async measure() {
      const source = await mkdtemp(join(folder, 'size-'));
      await symlink(join(project, 'node_modules'), join(source, 'node_modules'));
      await writeFile(join(source, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
      await writeFile(join(source, 'page.js'), program);
      await writeFile(join(source, 'index.html'), '<!doctype html><script type="module" src="./page.js"></script>');
      const target = join(source, 'built');
      await mkdir(target);
      await bundle(source, target);

      const names = (await readdir(target, { recursive: true })).filter((each) => each.endsWith('.js'));
      const texts = await Promise.all(names.map((each) => readFile(join(target, each))));
      const bytes = texts.reduce((sum, text) => sum + gzipSync(text).length, 0);
      if (bytes >= limit) throw new Error(`it is ${bytes} bytes gzipped, ${limit} or more`);
      return `${(bytes / 1000).toFixed(1)} kB`;
    },
  }));
}
