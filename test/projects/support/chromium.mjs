/**
 * Pages in headless Chromium from the package of Debian. It is controlled through a pipe with messages of the DevTools
 * protocol, which needs no npm package and reports what goes wrong on a page.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromiumNames, quietFlags } from './chromium-command.mjs';

const executable = chromiumNames.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);

/** Why Chromium cannot be started on this machine, or undefined. */
export function whyNoChromium() {
  return executable === undefined ? 'Chromium is not installed (Debian: chromium)' : undefined;
}

/** Starts Chromium with an empty profile for as long as `use` takes, and returns what `use` returns. */
export async function withChromium(use, { args = [] } = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-'));
  const child = spawn(executable, [...quietFlags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, ...args], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, HOME: profile },
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    log = (log + text).slice(-4000);
  });
  const ended = once(child, 'close');
  try {
    return await Promise.race([
      use(new Chromium(child.stdio[3], child.stdio[4])),
      ended.then(([code]) => Promise.reject(new Error(`Chromium ended with exit code ${code}\n${log}`))),
    ]);
  } finally {
    child.kill('SIGKILL');
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

class Chromium {
  #input;
  #calls = new Map();
  #listeners = new Set();

  constructor(input, output) {
    // Both are reset when Chromium ends, which is told by its exit code
    for (const pipe of [input, output]) pipe.on('error', () => {});
    this.#input = input;
    let rest = '';
    output.setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  /** Calls a method of the protocol, of the browser or of the page with this session. */
  async call(method, params = {}, sessionId = undefined) {
    const id = this.#calls.size + 1;
    const answer = new Promise((resolve) => this.#calls.set(id, resolve));
    this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { error, result } = await answer;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** Opens the page at `url`, and waits until its first `<output>` has text. Returns the text. */
  async outputOf(url, { seconds = 30 } = {}) {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const log = [];
    const listener = (event) => {
      if (event.sessionId === sessionId) log.push(...complaintOf(event));
    };
    this.#listeners.add(listener);
    try {
      for (const domain of ['Runtime', 'Log', 'Page']) await this.call(`${domain}.enable`, {}, sessionId);
      const { errorText } = await this.call('Page.navigate', { url }, sessionId);
      if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
      const expression = "document.querySelector('output')?.textContent.trim() ?? ''";
      for (const until = performance.now() + seconds * 1000; performance.now() < until; await sleep(50)) {
        const { result } = await this.call('Runtime.evaluate', { expression }, sessionId);
        if (result.value) return result.value;
      }
      throw new Error([`${url} showed nothing within ${seconds} s`, ...log].join('\n'));
    } finally {
      this.#listeners.delete(listener);
      await this.call('Target.closeTarget', { targetId });
    }
  }

  #receive(message) {
    if (message.id === undefined) for (const listener of this.#listeners) listener(message);
    else this.#calls.get(message.id)(message);
  }
}

/** The messages about something that went wrong on a page, if this event has one. */
function complaintOf({ method, params }) {
  if (method === 'Runtime.exceptionThrown')
    return [params.exceptionDetails.exception?.description ?? params.exceptionDetails.text];
  if (method === 'Runtime.consoleAPICalled' && params.type === 'error')
    return [params.args.map(({ value, description }) => value ?? description).join(' ')];
  if (method === 'Log.entryAdded' && params.entry.level === 'error')
    return [`${params.entry.text} ${params.entry.url ?? ''}`];
  return [];
}
