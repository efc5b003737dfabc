/** Every example in the README, the documentation and the doc comments does what it says, and every error has its page. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from 'chai';
import { codesOf, errorPages } from '../docs/api/errors.ts';
import { hasPython } from './cli/command.ts';
import {
  type Example,
  examplesInComments,
  examplesOf,
  makeSandbox,
  runCommand,
  runScriptExamples,
  writeScript,
} from './support/doc-examples.ts';
import { root } from './support/root.ts';
import type { Outcome } from './support/run-script.ts';

/** The files under a folder, without those of the packages that are installed there. */
function filesUnder(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path, ending);
    return path.endsWith(ending) ? [path] : [];
  });
}

const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...['docs', 'examples'].flatMap((folder) => filesUnder(folder, '.md')),
];
/** The documents whose examples are run. The others are made from doc comments, whose examples are run, too. */
const written = documents.filter((path) => !/^docs\/api(-cuda|-routing)?\.md$/.test(path));
const sources = filesUnder('ts', '.ts');

const isScript = (language: string) => language === 'js' || language === 'ts';

/** An example that throws, changed so that it prints the error. */
function printingItsError(example: Example): Example {
  const print = "(error) => console.log(error.code + '\\n' + error.name + ': ' + error.message)";
  return { ...example, code: `process.on('uncaughtExceptionMonitor', ${print});\n${example.code}` };
}

function expectOutput({ place, output = '' }: Example, stdout: string): void {
  assert.strictEqual(stdout, output, place);
}

/** A line without its times, which vary. */
function withoutTimes(line: string): string {
  return /\d [mµn]?s\b|warm passes/.test(line) ? line.replace(/[\d.,]+ ([mµn]?s\b)?/g, '# ') : line.trimEnd();
}

/** Runs `$ command` lines, each of which is followed by what it prints. A line `…` stands for the rest of the output. */
function runSession(example: Example, sandbox: string): void {
  for (const [, command, expected] of example.code.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
    const { status, stdout, stderr } = runCommand(sandbox, command, example.how);
    assert.strictEqual(status, 0, `${example.place}: ${stderr}`);
    const actual = `${stderr}${stdout}`.split('\n');
    const [promised, rest] = expected.split(/^…\n/m);
    const lines = promised.split('\n');
    if (rest !== undefined) actual.length = lines.length - 1;
    const wanted = rest === undefined ? lines : lines.slice(0, -1);
    assert.deepStrictEqual(actual.map(withoutTimes), wanted.map(withoutTimes), `${example.place}: ${command}`);
  }
}

describe('documentation', function () {
  this.timeout(60_000);

  for (const path of written) {
    const examples = examplesOf(path).filter(({ language }) => language !== 'text' && language !== '');
    if (examples.length === 0 || path.startsWith('docs/errors/')) continue;
    describe(path, () => {
      const scripts = examples.filter(({ language, how }) => isScript(language) && !how.startsWith('elsewhere'));
      let outcomes: Promise<Outcome>[] = [];
      let sandbox = '';
      before(() => {
        outcomes = runScriptExamples(scripts);
        sandbox = makeSandbox();
      });
      after(() => rmSync(sandbox, { recursive: true, force: true }));

      for (const example of examples) {
        const { place, language, code, how } = example;
        it(`${place}, ${language}`, async function () {
          if (how.startsWith('elsewhere')) this.skip();
          if (/\bnumpy\b/.test(code) && !hasPython('numpy')) this.skip();
          if (language === 'console') return runSession(example, sandbox);
          if (language === 'sh') {
            const { status, stderr } = runCommand(sandbox, code, how);
            assert.strictEqual(status, 0, stderr);
            return;
          }
          assert.isTrue(isScript(language), 'a language that can be run');
          const { status, stdout, stderr } = await outcomes[scripts.indexOf(example)];
          assert.strictEqual(status, 0, stderr);
          expectOutput(example, stdout);
        });
      }
    });
  }

  describe('doc comments', () => {
    const examples = sources.flatMap(examplesInComments);
    let outcomes: Promise<Outcome>[] = [];
    before(() => {
      outcomes = runScriptExamples(examples);
    });
    for (const [index, example] of examples.entries()) {
      it(example.place, async () => {
        assert.isNotEmpty(example.output, 'it prints something, and says what');
        const { status, stdout, stderr } = await outcomes[index];
        assert.strictEqual(status, 0, stderr);
        expectOutput(example, stdout);
      });
    }
  });

  it('examples in TypeScript are well-typed, and so are those of the README in JavaScript', () => {
    const examples = [...written.flatMap(examplesOf), ...sources.flatMap(examplesInComments)];
    const readme = examplesOf('README.md').filter(({ language }) => language === 'js');
    assert.isAbove(readme.length, 1);
    const files = [
      ...examples.filter(({ language }) => language === 'ts'),
      ...readme.map((example) => ({ ...example, language: 'ts' })),
    ].map(writeScript);
    const { status, stdout } = spawnSync(
      process.execPath,
      [
        'node_modules/typescript/bin/tsc',
        ...['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--lib', 'es2022,esnext.disposable,dom'],
        ...['--module', 'nodenext', '--types', 'node', '--ignoreConfig', ...files],
      ],
      { cwd: root, encoding: 'utf8' },
    );
    assert.strictEqual(status, 0, stdout);
  });

  it('links to files and headings that are there', () => {
    // The anchors are those that code hosts make: if two headings are equal, the anchor of the second ends in -1
    const anchorsOf = (text: string) => {
      const seen = new Map<string, number>();
      return [...text.replace(/^```.*?^```$/gms, '').matchAll(/^#+ (.*)$/gm)].map(([, heading]) => {
        const slug = heading
          .toLowerCase()
          .replace(/[^\w\- ]/g, '')
          .replaceAll(' ', '-');
        const count = seen.get(slug) ?? 0;
        seen.set(slug, count + 1);
        return count === 0 ? slug : `${slug}-${count}`;
      });
    };
    for (const path of documents) {
      const text = readFileSync(join(root, path), 'utf8').replace(/^```.*?^```$/gms, '');
      for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue;
        const [file, anchor] = target.split('#');
        const linked = file === '' ? join(root, path) : join(root, path, '..', file);
        if (anchor === undefined) {
          assert.doesNotThrow(() => readdirSync(join(linked, '..')).includes(linked), `${path}: ${target}`);
          assert.strictEqual(spawnSync('test', ['-e', linked]).status, 0, `${path}: ${target}`);
        } else {
          assert.include(anchorsOf(readFileSync(linked, 'utf8')), anchor, `${path}: ${target}`);
        }
      }
    }
  });
});

describe('pages of errors', function () {
  this.timeout(60_000);
  const codes = codesOf('ts/errors/errors.ts', 'ErrorCode').map(({ code }) => code);

  it('there is one for every code, and there are no others', () => {
    const pages = readdirSync(join(root, 'docs/errors')).filter((name) => name !== 'README.md');
    assert.sameMembers(
      pages,
      codes.map((code) => `${code}.md`),
    );
  });

  it('say of the codes what their doc comments say', () => {
    for (const [path, text] of errorPages()) {
      assert.strictEqual(readFileSync(join(root, path), 'utf8'), text, `${path} is outdated: run ./build.sh docs`);
    }
  });

  for (const code of codes) {
    describe(code, () => {
      const examples = examplesOf(`docs/errors/${code}.md`);
      const headings = [...new Set(examples.map(({ heading }) => heading))];
      it('is provoked, explained and fixed', () => assert.isNotEmpty(headings));

      for (const heading of headings) {
        it(heading, async () => {
          const [provocation, ...fixes] = examples.filter((example) => example.heading === heading);
          const [caught, ...fixed] = await Promise.all(runScriptExamples([printingItsError(provocation), ...fixes]));
          assert.strictEqual(caught.status, 1, caught.stderr);
          assert.strictEqual(caught.stdout, `${code}\n${provocation.output}`);
          assert.include(provocation.output ?? '', `: ${heading.replaceAll('`', '')}. `, 'the heading is the message');

          assert.isNotEmpty(fixes);
          for (const [index, fix] of fixes.entries()) {
            const { status, stdout, stderr } = fixed[index];
            assert.strictEqual(status, 0, stderr);
            assert.isNotEmpty(stdout);
            expectOutput(fix, stdout);
          }
        });
      }
    });
  }

  it('all codes of devices are in their table, in the words of the sources', () => {
    const page = readFileSync(join(root, 'docs/errors/DEVICE_UNAVAILABLE.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| .*? \| (.*?) \| .*? \|$/gm)];
    assert.sameMembers(
      rows.map(([, code]) => code),
      codesOf('ts/errors/availability.ts', 'ObstacleCode').map(({ code }) => code),
    );
    const text = sources.map((path) => readFileSync(join(root, path), 'utf8')).join('');
    for (const [, code, reasons] of rows) {
      const parts = [...reasons.matchAll(/`([^`]+)`/g)].flatMap(([, reason]) => reason.split('…'));
      for (const part of parts) assert.include(text, part.replace(/^\)$/, '').trim(), code);
    }
  });
});
