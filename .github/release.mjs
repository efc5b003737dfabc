/**
 * Makes the tarball to publish, in build/release: ./build.sh release [--rehearse]
 *
 * It fails if the result must not be published: if changes are not committed, if the version has no date in the
 * changelog, if documents say that the library is not on npm yet, or if an addon is missing, is older than its sources,
 * is only for some GPUs, or is not built with CUDA 12 (`cuda/release.sh` builds both). A rehearsal takes any addon that
 * is for all GPUs, and needs only that of this machine.
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
for (const platform of flags.rehearse ? [`${process.platform}-${process.arch}`] : ['linux-x64', 'linux-arm64']) {
  checkAddon(platform);
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

function checkAddon(platform) {
  const path = join(root, 'dist', 'prebuilds', platform, 'dispatch_layout_cuda.node');
  const remedy = 'run cuda/release.sh';
  if (!existsSync(path)) fail(`there is no CUDA addon for ${platform}; ${remedy}`);
  // cuda/CMakeLists.txt puts this text into the addon
  const [, cuda, architectures] =
    /dispatch-layout addon: CUDA ([\d.]+), architectures ([\w -]+)/.exec(readFileSync(path, 'latin1')) ?? [];
  if (architectures?.startsWith('75-real 80-real 86-real 89-real 90') !== true) {
    fail(`the CUDA addon for ${platform} is for some GPUs only (${architectures}); ${remedy}`);
  }
  if (flags.rehearse) return;
  if (!cuda.startsWith('12.')) {
    fail(`the CUDA addon for ${platform} is built with CUDA ${cuda}, and would need a newer driver; ${remedy}`);
  }
  const newer = run('find', ['cuda', '-type', 'f', '-newer', path], root).trim();
  if (newer !== '') fail(`the CUDA addon for ${platform} is older than ${newer.split('\n')[0]}; ${remedy}`);
}

function withAbsoluteLinks(text) {
  return text.replace(/\]\((?![a-z]+:|#)([^)\s]+)\)/g, `](https://unpkg.com/${name}@${version}/$1)`);
}
