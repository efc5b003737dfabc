/**
 * The examples of the documentation: code blocks of Markdown files and of doc comments, and how to run them.
 *
 * A comment before a block says how it is run, where that is not the usual way: `<!-- run: gpu NAME=value -->` over the
 * made-up GPU and with environment variables, `<!-- run: elsewhere, … -->` not by these tests, and by what instead.
 *
 * @module
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fakeAddon } from '../cuda/fake.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

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

/** The file of a TypeScript example. */
export function writeScript({ place, code }: Example): string {
  mkdirSync(scripts, { recursive: true });
  const file = join(scripts, `${place.replace(/[^\w-]+/g, '-')}.ts`);
  writeFileSync(file, `${code}\nexport {};\n`);
  return file;
}

/** Runs JavaScript or TypeScript in a process of its own. */
export function runScriptExample(example: Example): SpawnSyncReturns<string> {
  const args =
    example.language === 'ts'
      ? ['--import=tsx', writeScript(example)]
      : ['--input-type=module', '--eval', example.code];
  return spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', env: environmentOf(example.how) });
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
export function runCommand(sandbox: string, command: string, how: string): SpawnSyncReturns<string> {
  const environment = environmentOf(how);
  const path = `${join(sandbox, 'node_modules', '.bin')}:${environment.PATH}`;
  return spawnSync('bash', ['-o', 'pipefail', '-c', command], {
    cwd: sandbox,
    encoding: 'utf8',
    env: { ...environment, PATH: path, NODE_OPTIONS: '' },
  });
}
