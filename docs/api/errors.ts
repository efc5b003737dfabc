/**
 * The parts of the pages about errors that are made from doc comments: the index, and the head of each page. The rest
 * is written by hand.
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

/** The texts that the pages should have, by their paths. */
export function errorPages(): Map<string, string> {
  const codes = codesOf('ts/errors/errors.ts', 'ErrorCode');
  const rows = codes.map(({ code, meaning }) => `| [\`${code}\`](${code}.md) | ${meaning.replace(/\.$/, '')} |`);
  return new Map([
    withPart('docs/errors/README.md', ['| code | meaning |', '| --- | --- |', ...rows].join('\n')),
    ...codes.map(({ code, meaning }) => withPart(`docs/errors/${code}.md`, `# ${code}\n\n${meaning}`)),
  ]);
}
