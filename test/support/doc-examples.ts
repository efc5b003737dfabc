/**
 * The examples of the documentation: code blocks of Markdown files and of doc comments, and how to run them.
 *
 * A comment before a block says how it is run, where that is not the usual way: `<!-- run: gpu NAME=value -->` over the
 * made-up GPU and with environment variables, `<!-- run: elsewhere, … -->` not by these tests, and by what instead.
 *
 * @module
 */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fakeAddon } from '../cuda/fake.ts';
import { root } from './root.ts';
import type { Outcome } from './run-script.ts';

export interface Example {
  /** Where it begins: `README.md:36`. */
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

/** The code blocks of a Markdown file; text blocks count as the output of what is before them. */
export function examplesOf(path: string): Example[] {
  const text = readFileSync(`${root}${path}`, 'utf8');
  return [...text.matchAll(block)].map(([, how = '', language, code, output], index) => {
    const { index: at } = [...text.matchAll(block)][index];
    const before = text.slice(0, at);
    const heading = [...before.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? '';
    return { place: `${path}:${before.split('\n').length}`, language, code, output, heading, how };
  });
}

/** The examples in the doc comments of a module, whose lines `console.log(…); // …` say what they print. */
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

/** A folder under the root, where the library is found by its name. */
const scripts = join(root, 'build', 'examples');

/** The file of a JavaScript or TypeScript example. */
export function writeScript({ place, language, code }: Example): string {
  mkdirSync(scripts, { recursive: true });
  const file = join(scripts, `${place.replace(/[^\w-]+/g, '-')}.${language}`);
  writeFileSync(file, `${code}\nexport {};\n`);
  return file;
}

/** Runs JavaScript or TypeScript in a process of its own. Resolves in any case. */
function runScriptExample(example: Example): Promise<Outcome> {
  const args = [...(example.language === 'ts' ? ['--import=tsx'] : []), writeScript(example)];
  const options = { cwd: root, env: environmentOf(example.how) };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, options, (_, stdout, stderr) => {
      resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

/** Begins to run examples, in their order and two at a time: as many as the cores that one can count on. */
export function runScriptExamples(examples: readonly Example[]): Promise<Outcome>[] {
  const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
  return examples.map((example, index) => {
    const outcome = lanes[index % 2].then(() => runScriptExample(example));
    lanes[index % 2] = outcome;
    return outcome;
  });
}

/** A folder in which the library and its command are installed: a document's shell examples run there, in their order. */
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
