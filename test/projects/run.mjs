/**
 * Runs small projects of the kinds that users have with the packed library. Each project has a folder. It is copied to
 * a temporary folder; the packages of its lockfile are installed there, then the tarball, as `npm install
 * dispatch-layout` would do; and its script `check` runs. `./build.sh projects [NAME]...` runs the named projects, or
 * all. A project that needs Chromium (`engines` in its package.json says so) is skipped if there is none; with
 * `--complete`, that is a failure. `--tarball FILE` uses an existing tarball.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { packLibrary } from '../runtimes/project.mjs';
import { failedCell, Report } from '../runtimes/report.mjs';
import { whyNoChromium } from './support/chromium.mjs';

/** The number of projects that run at the same time. */
const numLanes = 2;
const installTimeout = 300_000;
const checkTimeout = 180_000;
/** The number of characters of a failed project's output that are shown. */
const shownOutput = 6000;

const here = fileURLToPath(new URL('.', import.meta.url));
const { values: flags, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { complete: { type: 'boolean' }, tarball: { type: 'string' } },
});
const projects = await findProjects(names);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort());
const folder = await realpath(await mkdtemp(join(tmpdir(), 'dispatch-layout-projects-')));
const report = new Report();
try {
  const tarball = flags.tarball === undefined ? await packLibrary(folder) : resolve(flags.tarball);
  const outcomes = projects.map(() => undefined);
  const waiting = projects.entries();
  const lane = async () => {
    for (const [index, project] of waiting) {
      console.error(`  ${project.name}`);
      outcomes[index] = await outcomeOf(project, join(folder, `${index}`), tarball);
    }
  };
  await Promise.all(Array.from({ length: numLanes }, lane));
  for (const [index, { name, tools }] of projects.entries()) {
    const { cell, seconds } = outcomes[index];
    report.addRow(`${name}: ${tools}`, cell, seconds);
  }
} finally {
  await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
console.log(report.toString());
console.log(`\n${report.count('passed')} passed, ${report.count('failed')} failed, ${report.count('skipped')} skipped`);
process.exitCode = report.count('failed') > 0 ? 1 : 0;

/** The projects with these names, or all: the folders with a package.json. */
async function findProjects(names) {
  const found = [];
  for (const entry of await readdir(here, { withFileTypes: true })) {
    const manifest = await readFile(join(here, entry.name, 'package.json'), 'utf8').catch(() => undefined);
    if (!entry.isDirectory() || manifest === undefined) continue;
    const { engines = {}, dependencies = {}, devDependencies = {} } = JSON.parse(manifest);
    const versions = Object.entries({ ...devDependencies, ...dependencies });
    found.push({
      name: entry.name,
      // A version such as npm:vite@5.4.21 belongs to an alias, whose name is shown.
      tools: versions.map(([name, version]) => `${name} ${version.split('@').at(-1)}`).join(', ') || 'Node.js',
      hasPackages: versions.length > 0,
      missing: 'chromium' in engines ? whyNoChromium() : undefined,
    });
  }
  found.sort((a, b) => (a.name < b.name ? -1 : 1));
  if (names.length === 0) return found;
  return names.map((name) => {
    const project = found.find((each) => each.name === name);
    if (project === undefined)
      throw new Error(`no project is called ${name}; the projects are ${found.map((each) => each.name).join(', ')}`);
    return project;
  });
}

/** Installs one project, and runs its check, in the folder `place`. Its path is short: Chromium has sockets in there. */
async function outcomeOf({ name, hasPackages, missing }, place, tarball) {
  if (missing !== undefined)
    return { cell: flags.complete ? failedCell(missing) : { outcome: 'skipped', reason: missing } };
  const project = join(place, name);
  const started = performance.now();
  let installed;
  try {
    // Files that are the same for two versions of a tool are links in one of the projects.
    const options = { recursive: true, dereference: true, filter: (path) => !path.endsWith('node_modules') };
    await cp(join(here, name), project, options);
    await cp(join(here, 'support'), join(place, 'support'), { recursive: true });
    const quietly = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
    // First install exactly what the lockfile says, which fails if package.json says something else. Then install the
    // library.
    if (hasPackages) await execute('npm', ['ci', ...quietly], { cwd: project, timeout: installTimeout });
    await execute('npm', ['install', '--no-save', ...quietly, tarball], { cwd: project, timeout: installTimeout });
    installed = performance.now();
    await execute('npm', ['run', 'check'], { cwd: project, timeout: checkTimeout, env: await homeIn(place, tarball) });
    return { cell: { outcome: 'passed', detail: `passed${installTime()}` }, seconds: checkTime() };
  } catch (error) {
    return { cell: { ...failedCell(error), detail: `FAILED${installTime()}` }, seconds: checkTime() };
  } finally {
    await rm(place, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  function installTime() {
    return installed === undefined ? '' : `, installed in ${((installed - started) / 1000).toFixed(1)} s`;
  }

  function checkTime() {
    return (performance.now() - (installed ?? started)) / 1000;
  }
}

/** An environment in which tools put their caches, settings and profiles into `place`. */
async function homeIn(place, tarball) {
  const home = join(place, 'home');
  await mkdir(home);
  return {
    HOME: home,
    TMPDIR: home,
    // The registry is asked for packages only.
    npm_config_update_notifier: 'false',
    NEXT_TELEMETRY_DISABLED: '1',
    DISPATCH_LAYOUT_TARBALL: tarball,
  };
}

/**
 * Runs a command, and ends every process that it started. The promise rejects with its output if it fails or takes too
 * long.
 */
async function execute(file, args, { cwd, timeout, env = {} }) {
  interrupted.signal.throwIfAborted();
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // The command has a process group of its own, which is ended as a whole. A server that still ran would keep the
    // pipes open.
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output = (output + text).slice(-shownOutput);
    });
  }
  const end = () => {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // The group has ended already.
    }
  };
  const limit = AbortSignal.any([AbortSignal.timeout(timeout), interrupted.signal]);
  limit.addEventListener('abort', end);
  child.once('exit', end);
  const [code] = await once(child, 'close');
  limit.removeEventListener('abort', end);
  if (limit.aborted)
    throw new Error(`${file} ${args[0]}: interrupted, or not done after ${timeout / 1000} s\n${output}`);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')}: exit code ${code}\n${output}`);
}
