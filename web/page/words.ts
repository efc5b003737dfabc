/**
 * Messages of the library and findings, in the words of the page.
 *
 * @module
 */

/** What the page calls the options of the library, and the flags of the command for which it has a control. */
const words: readonly (readonly [RegExp, string])[] = [
  [/\bnumRanksPerNode\b/g, 'ranks per node'],
  [/\bnumRanks\b/g, 'ranks'],
  [/\bnumExperts\b/g, 'experts'],
  [/--num-experts\b/g, 'experts'],
  [/--empty-id (\S+)/g, '$1 as emptyId'],
  [/--empty-id\b/g, 'emptyId'],
  [/--keep-dense\b/g, '“count dense layers”'],
  [/--axes\b/g, 'axes'],
];

/** A text in the words of the page. */
export function inWords(text: string): string {
  return words.reduce((changed, [pattern, word]) => changed.replace(pattern, word), text);
}
