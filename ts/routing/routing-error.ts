/**
 * The error of everything that reads routing files. It names the file, the place in it, and what to do.
 *
 * @module
 */

/** A stable identifier of what is wrong with a file, or with the options for it. */
export type RoutingErrorCode =
  /** The file cannot be opened or read. */
  | 'UNREADABLE'
  /** The file is of no known format. */
  | 'UNKNOWN_FORMAT'
  /** The file contradicts itself or its format: it is truncated, too long, overlapping, or not what its header says. */
  | 'DAMAGED'
  /** The file is sound, and has something that is not read, such as objects of Python or an old variant of a format. */
  | 'UNSUPPORTED'
  /** The file holds something else than the ids of experts, such as scores. */
  | 'NOT_ROUTING'
  /** The file holds counts by expert, and no tokens. */
  | 'COUNTS'
  /** The file can be read in several ways, and nothing in it says which is right. */
  | 'AMBIGUOUS'
  /** An option is missing that the file needs, or does not fit the file. */
  | 'CHOICE'
  /** The file is, or says that it is, larger than what is read. */
  | 'TOO_LARGE';

/** What every {@link RoutingError} says, beside what the problem is. */
export interface RoutingErrorDetails {
  /** The file, as it is shown to people. */
  readonly file: string;
  /** Where in the file: `line 7`, `byte 128`, `array 'ids'`, `choices[0].routed_experts`. */
  readonly place?: string | undefined;
  /**
   * What to do about it. Options are named as the library names them: `axes: 'tokens,layers,topk'`. The command line
   * replaces them by its flags.
   */
  readonly remedy: string;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** A routing file cannot be read as asked. */
export class RoutingError extends Error {
  /** The name of the class. */
  override readonly name = 'RoutingError';
  /** The stable identifier of what is wrong. */
  readonly code: RoutingErrorCode;
  /** The file. */
  readonly file: string;
  /** Where in the file, or undefined where it is the whole file. */
  readonly place: string | undefined;
  /** What to do about it. */
  readonly remedy: string;

  /** @param problem what is wrong, as the rest of a sentence that begins with the file and the place: `is empty`. */
  constructor(code: RoutingErrorCode, problem: string, { file, place, remedy, cause }: RoutingErrorDetails) {
    const shown = { file: printable(file), place: place === undefined ? undefined : printable(place) };
    const where = shown.place === undefined ? shown.file : `${shown.file}, ${shown.place}`;
    const shownRemedy = printable(remedy);
    super(`${where} ${printable(problem)}; ${shownRemedy}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.file = shown.file;
    this.place = shown.place;
    this.remedy = shownRemedy;
  }
}

/** No part of a message is longer, in UTF-16 code units. Lists of names and values that files hold can be. */
const maxPart = 1000;

/**
 * A text for people. It may quote names and values of files, which can be of any length and have control characters. On a
 * terminal these would write over other text or turn it around, so they are written as `\u{1b}`.
 */
export function printable(text: string): string {
  const part = text.length > maxPart ? `${text.slice(0, maxPart)}…` : text;
  return part.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    return `\\u{${character.codePointAt(0)?.toString(16)}}`;
  });
}

/** Throws a {@link RoutingError}. A call of it can be used where an expression is needed. */
export function refuse(code: RoutingErrorCode, problem: string, details: RoutingErrorDetails): never {
  throw new RoutingError(code, problem, details);
}
