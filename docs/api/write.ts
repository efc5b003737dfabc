/**
 * Writes to docs/ what is made from doc comments: the pages about errors, and those about the API, which typedoc has
 * put into build/api. With --check, it writes nothing, and fails if a file is outdated.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { errorPages } from './errors.ts';

const pages = errorPages();
for (const name of readdirSync('build/api')) pages.set(`docs/${name}`, readFileSync(`build/api/${name}`, 'utf8'));

const outdated = [...pages].filter(([path, text]) => !existsSync(path) || readFileSync(path, 'utf8') !== text);
if (process.argv.includes('--check')) {
  for (const [path] of outdated) console.error(`${path} is not what the doc comments say: run ./build.sh docs`);
  process.exitCode = outdated.length === 0 ? 0 : 1;
} else {
  for (const [path, text] of outdated) {
    writeFileSync(path, text);
    console.error(`${path} is written`);
  }
}
