/**
 * Chromium and Firefox from the packages of Debian. Each page has a process, which is started with its address. The
 * page sends its results by itself, so nothing has to control the browser.
 *
 * @module
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromiumNames, quietFlags } from '../projects/support/chromium-command.mjs';

const timeout = 600_000;

/** Settings with which Firefox shows only the page: it opens no first-run pages and sends no requests to other servers. */
const firefoxPreferences = {
  'browser.aboutwelcome.enabled': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.normandy.enabled': false,
  'app.update.enabled': false,
  'browser.safebrowsing.update.enabled': false,
  'extensions.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'data:,',
  'toolkit.telemetry.reportingpolicy.firstRun': false,
};

const browsers = {
  Chromium: {
    candidates: chromiumNames,
    package: 'chromium',
    args: (profile) => [...quietFlags, '--enable-logging=stderr', `--user-data-dir=${profile}`],
  },
  Firefox: {
    candidates: ['firefox-esr', 'firefox'],
    package: 'firefox-esr',
    args: (profile) => ['--headless', '--no-remote', '--profile', profile],
    async configure(profile) {
      const lines = Object.entries(firefoxPreferences).map(
        ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
      );
      await writeFile(join(profile, 'user.js'), lines.join('\n'));
    },
  },
};

/** Why the browser cannot be started on this machine, or undefined. */
export function whyMissing(name) {
  const browser = browsers[name];
  return executableOf(browser) === undefined ? `it is not installed (Debian: ${browser.package})` : undefined;
}

/** The name and version of the browser. */
export function versionOf(name) {
  const executable = executableOf(browsers[name]);
  return executable === undefined ? name : (/\S+ [\d.]+/.exec(output(executable, ['--version']))?.[0] ?? name);
}

/**
 * Opens the page at `url`, a page of the site, in a new process with a new profile, and returns the results that it sends.
 *
 * @param isIsolated whether the page, or its worker, must be cross-origin isolated.
 * @param isPage whether the suite must have run in the page itself.
 */
export async function runPage(name, site, url, options, { isIsolated, isPage }) {
  const browser = browsers[name];
  const profile = await mkdtemp(join(tmpdir(), 'dispatch-layout-browser-'));
  const id = crypto.randomUUID();
  await browser.configure?.(profile);
  const address = `${url}?${encodeURIComponent(JSON.stringify({ id, options }))}`;
  const child = spawn(executableOf(browser), [...browser.args(profile), address], {
    // The browser has a process group of its own, so that all its processes can be ended together.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, MOZ_DISABLE_AUTO_SAFE_MODE: '1', HOME: profile },
  });
  let log = '';
  child.stderr.on('data', (data) => {
    log = (log + data).slice(-4000);
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let timer;
  try {
    const answer = await Promise.race([
      site.answerOf(id),
      ended.then((code) => Promise.reject(new Error(`${name} ended with exit code ${code}\n${log}`))),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no results within ${timeout / 1000} s\n${log}`)), timeout);
      }),
    ]);
    if (answer.error !== undefined) throw new Error(`${answer.error}\n${log}`);
    if (answer.isIsolated !== isIsolated) throw new Error(`crossOriginIsolated is ${answer.isIsolated}`);
    if (answer.isPage !== isPage) throw new Error(`the suite ran in a ${answer.isPage ? 'page' : 'worker'}`);
    return answer.results;
  } finally {
    clearTimeout(timer);
    if (child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

function executableOf({ candidates }) {
  return candidates.find((candidate) => output('which', [candidate]) !== undefined);
}

function output(file, args) {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}
