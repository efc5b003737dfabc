/**
 * The parts of the pages about errors that are made from doc comments: the index, the head of each page, and what the
 * codes of devices mean. The rest is written by hand.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);

/** A code and its doc comment. */
export interface DocumentedCode {
  readonly code: string;
  readonly meaning: string;
}

/** The codes of a union type in a module. */
export function codesOf(path: string, union: string): DocumentedCode[] {
  const source = readFileSync(new URL(path, root), 'utf8');
  const [, members] = new RegExp(`export type ${union} =(.*?'\\w+');`, 's').exec(source) ?? [];
  if (members === undefined) throw new Error(`${path} has no union ${union}`);
  return [...members.matchAll(/(?:\/\*\*(.*?)\*\/\s*)?\| '(\w+)'/gs)].map(([, comment, code]) => {
    if (comment === undefined) throw new Error(`${path}: '${code}' has no doc comment`);
    return { code, meaning: comment.replace(/\s*\n\s*\*/g, '').trim() };
  });
}

const begin = '<!-- Made by ./build.sh docs from the doc comments of ErrorCode in ts/errors/errors.ts: edit those. -->';
const end = '<!-- End of what ./build.sh docs makes. -->';

/** A file, with its part between the two comments replaced. A new file has only this part. */
function withPart(path: string, part: string): [path: string, text: string] {
  const made = `${begin}\n\n${part}\n\n${end}\n`;
  const url = new URL(path, root);
  if (!existsSync(url)) return [path, made];
  const text = readFileSync(url, 'utf8');
  const from = text.indexOf(begin);
  const to = text.indexOf(`${end}\n`, from);
  if (from === -1 || to === -1) throw new Error(`${path} lacks the line ${from === -1 ? begin : end}`);
  return [path, text.slice(0, from) + made + text.slice(to + end.length + 1)];
}

const obstacles = 'docs/errors/DEVICE_UNAVAILABLE.md';

/**
 * The page with its table of obstacles. The first two cells of each row are made, in the order of the sources; the others,
 * what `describeDevices()` says and what to do, are written by hand and stay with their code.
 */
function withObstacles(page: string): string {
  const row = /^\| `([A-Z_]+)` \| .*? \| (.*) \|$/gm;
  const written = new Map([...page.matchAll(row)].map(([, code, cells]) => [code, cells]));
  const rows = codesOf('ts/errors/availability.ts', 'ObstacleCode').map(({ code, meaning }) => {
    const cells = written.get(code);
    if (cells === undefined)
      throw new Error(`${obstacles} has no row for ${code}: add one, | \`${code}\` | | reason | fix |`);
    return `| \`${code}\` | ${meaning.replace(/\.$/, '')} | ${cells} |`;
  });
  const [first] = page.match(/^\| `[A-Z_]+` \|.*$/m) ?? [''];
  const begin = page.indexOf(first);
  const table = /^(\|.*\n)+/.exec(page.slice(begin))?.[0] ?? '';
  return page.slice(0, begin) + rows.map((each) => `${each}\n`).join('') + page.slice(begin + table.length);
}

/** The texts that the pages should have, by their paths. */
export function errorPages(): Map<string, string> {
  const codes = codesOf('ts/errors/errors.ts', 'ErrorCode');
  const rows = codes.map(({ code, meaning }) => `| [\`${code}\`](${code}.md) | ${meaning.replace(/\.$/, '')} |`);
  const pages = new Map([
    withPart('docs/errors/README.md', ['| code | meaning |', '| --- | --- |', ...rows].join('\n')),
    ...codes.map(({ code, meaning }) => withPart(`docs/errors/${code}.md`, `# ${code}\n\n${meaning}`)),
  ]);
  return pages.set(obstacles, withObstacles(pages.get(obstacles) ?? ''));
}
