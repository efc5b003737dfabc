/**
 * The examples of the documentation: the code blocks in Markdown files and in doc comments, and how to run them.
 *
 * If a block is not run in the usual way, a comment before it says how. `<!-- run: gpu NAME=value -->` runs it on the
 * fake GPU and with environment variables; it can then import `./graphs.mjs`, which stands for an addon of the user that
 * captures CUDA graphs. `<!-- run: elsewhere, … -->` says that these tests do not run it, and what
 * does instead.
 *
 * @module
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fakeAddon, otherLibrary } from '../cuda/fake.ts';
import { root } from './root.ts';
import type { Outcome } from './run-script.ts';

export interface Example {
  /** The place where it begins, such as `README.md:36`. */
  readonly place: string;
  readonly language: string;
  readonly code: string;
  /** The text block that follows it. */
  readonly output: string | undefined;
  /** The heading above it. */
  readonly heading: string;
  /** What the comment before it says after `run:`. */
  readonly how: string;
}

const block = /(?:<!-- run: ([^\n]*) -->\n\n)?^```(\w*)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?/gms;

/** The code blocks of a Markdown file. A text block is the output of the block before it. */
export function examplesOf(path: string): Example[] {
  const text = readFileSync(`${root}${path}`, 'utf8');
  return [...text.matchAll(block)].map(([, how = '', language, code, output], index) => {
    const { index: at } = [...text.matchAll(block)][index];
    const before = text.slice(0, at);
    const heading = [...before.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? '';
    return { place: `${path}:${before.split('\n').length}`, language, code, output, heading, how };
  });
}

/** The examples in the doc comments of a module. Their lines `console.log(…); // …` say what they print. */
export function examplesInComments(path: string): Example[] {
  const text = readFileSync(`${root}${path}`, 'utf8');
  return [...text.matchAll(/^ \* ```ts\n(.*?)^ \* ```$/gms)].map(({ 1: lines, index }) => {
    const code = lines.replace(/^ \* ?/gm, '');
    const output = [...code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, printed]) => `${printed}\n`).join('');
    const how = path.startsWith('ts/devices/cuda/') ? 'gpu' : '';
    return {
      place: `${path}:${text.slice(0, index).split('\n').length}`,
      language: 'ts',
      code,
      output,
      heading: '',
      how,
    };
  });
}

/** The environment that an example asks for. */
function environmentOf(how: string): NodeJS.ProcessEnv {
  const words = how.split(' ').filter((word) => word !== '');
  const settings = words.filter((word) => word.includes('=')).map((word) => /^(.*?)=(.*)$/s.exec(word)?.slice(1) ?? []);
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('DISPATCH_LAYOUT_'));
  return {
    ...Object.fromEntries(inherited),
    NODE_V8_COVERAGE: '',
    ...(words.includes('gpu') ? { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() } : {}),
    ...Object.fromEntries(settings),
  };
}

/** The folder for the scripts. It is under the root, so that the library is found by its name. */
const scripts = join(root, 'build', 'examples');

/** Writes a JavaScript or TypeScript example to a file, and returns the path. */
export function writeScript({ place, language, code }: Example): string {
  mkdirSync(scripts, { recursive: true });
  if (code.includes('./graphs.mjs')) {
    const load = `import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\n`;
    const names = '{ createStream, beginCapture, endCapture, launchGraph, synchronizeStream }';
    const library = JSON.stringify(otherLibrary());
    writeFileSync(join(scripts, 'graphs.mjs'), `${load}export const ${names} = require(${library});\n`);
  }
  const file = join(scripts, `${place.replace(/[^\w-]+/g, '-')}.${language}`);
  writeFileSync(file, `${code}\nexport {};\n`);
  return file;
}

/** Runs a JavaScript or TypeScript example in a process of its own. The promise resolves even if the process fails. */
function runScriptExample(example: Example): Promise<Outcome> {
  const args = [...(example.language === 'ts' ? ['--import=tsx'] : []), writeScript(example)];
  const options = { cwd: root, env: environmentOf(example.how) };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, options, (_, stdout, stderr) => {
      resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

/** Starts to run examples, in their order and two at a time, since a machine has at least two cores. */
export function runScriptExamples(examples: readonly Example[]): Promise<Outcome>[] {
  const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  return examples.map((example, index) => {
    const outcome = lanes[index % 2].then(() => runScriptExample(example));
    lanes[index % 2] = outcome;
    return outcome;
  });
}

/**
 * Makes a folder in which the library and its command are installed. The shell examples of a document run there, in
 * their order.
 */
export function makeSandbox(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-examples-'));
  mkdirSync(join(folder, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(root, join(folder, 'node_modules', 'dispatch-layout'), 'dir');
  symlinkSync(join(root, 'dist', 'cli.js'), join(folder, 'node_modules', '.bin', 'dispatch-layout'));
  return folder;
}

/** Runs a shell command in a sandbox. */
export function runCommand(sandbox: string, command: string, how: string): Outcome {
  const environment = environmentOf(how);
  const path = `${join(sandbox, 'node_modules', '.bin')}:${environment.PATH}`;
  return spawnSync('bash', ['-o', 'pipefail', '-c', command], {
    cwd: sandbox,
    encoding: 'utf8',
    env: { ...environment, PATH: path, NODE_OPTIONS: '' },
  });
}
