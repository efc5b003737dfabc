/**
 * Makes the tarball to publish, in build/release: ./build.sh release [--rehearse]
 *
 * It fails if the result must not be published: if changes are not committed, if the version has no date in the
 * changelog, if documents say that the library is not on npm yet, or if the addon is missing or is only for some GPUs.
 * A rehearsal checks only the addon.
 *
 * The tarball is that of `npm pack`, except for the README. A registry shows the README on a page of its own, where
 * relative links lead nowhere. They are replaced by addresses of the same files in the published package, on a mirror
 * of the registry.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'build', 'release');
const { values: flags } = parseArgs({ options: { rehearse: { type: 'boolean' } } });
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

function run(file, parameters, cwd) {
  return execFileSync(file, parameters, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

function fail(message) {
  console.error(`release: ${message}`);
  process.exit(1);
}

if (!flags.rehearse) {
  if (run('git', ['status', '--porcelain'], root) !== '') fail('there are changes that are not committed');
  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  if (!new RegExp(`^## ${version.replaceAll('.', '\\.')} \\(\\d{4}-\\d\\d-\\d\\d\\)$`, 'm').test(changelog)) {
    fail(`CHANGELOG.md has no heading "## ${version} (YYYY-MM-DD)"`);
  }
  for (const file of ['README.md', 'docs/install.md']) {
    if (readFileSync(join(root, file), 'utf8').includes('not on npm yet'))
      fail(`${file} says that it is not on npm yet`);
  }
}
if (!existsSync(join(root, 'dist', 'prebuilds', 'linux-x64', 'dispatch_layout_cuda.node'))) {
  fail('the CUDA addon was not built; ./build.sh says why');
}
if (readFileSync(join(root, 'build', 'cuda', 'architectures'), 'utf8').trim() !== 'all') {
  fail('the CUDA addon is for some GPUs only; build it without CUDA_ARCHITECTURES');
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
run('npm', ['pack', '--pack-destination', folder], root);
const tarball = `${name}-${version}.tgz`;
run('tar', ['xzf', tarball], folder);
const readme = join(folder, 'package', 'README.md');
writeFileSync(readme, withAbsoluteLinks(readFileSync(readme, 'utf8')));
const [{ integrity, size }] = JSON.parse(
  run('npm', ['pack', '--json', '--pack-destination', '..'], join(folder, 'package')),
);
rmSync(join(folder, 'package'), { recursive: true });
console.log(
  `${join(folder, tarball)}\n${size} bytes, ${integrity}\nTo publish it: npm publish ${join(folder, tarball)}`,
);

function withAbsoluteLinks(text) {
  return text.replace(/\]\((?![a-z]+:|#)([^)\s]+)\)/g, `](https://unpkg.com/${name}@${version}/$1)`);
}
