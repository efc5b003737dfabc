/**
 * Breaks text into lines that fit a terminal.
 *
 * @module
 */

/** The most columns of a line in everything that is printed for people. */
export const columns = 80;

/**
 * Joins words by spaces behind `head`, and breaks them into lines of at most 80 columns. Continuation lines are indented by
 * the length of `head`. A word that is longer than a line is not broken.
 *
 * @param words the pieces that stay whole; they may contain spaces.
 */
export function wrap(head: string, words: readonly string[]): string[] {
  const indentation = ' '.repeat(head.length);
  const lines: string[] = [];
  let line = head;
  let isEmpty = true;
  for (const word of words) {
    if (!isEmpty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = indentation;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
