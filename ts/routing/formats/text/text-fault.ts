/**
 * What is wrong at one place of a text, and how it becomes an error that names the file, the line and the place.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';
import { type RoutingErrorCode, refuse } from '../../routing-error.ts';

/** A problem at one place of a text. Readers of text throw it, and {@link namingLines} turns it into a RoutingError. */
export class TextFault extends Error {
  override readonly name = 'TextFault';
  /** What kind of problem it is. */
  readonly code: RoutingErrorCode;
  /** Where it is, in bytes from the start of the file. */
  readonly position: number;
  /** The keys and indices that lead to it, such as `choices[0].routed_experts`; empty at the top of the file. */
  readonly path: string;
  /** What is wrong, as the rest of a sentence that begins with the place. */
  readonly problem: string;
  /** What to do about it. */
  readonly remedy: string;

  constructor(code: RoutingErrorCode, position: number, path: string, problem: string, remedy: string) {
    super(problem);
    this.code = code;
    this.position = position;
    this.path = path;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/**
 * Does work that reads a text.
 *
 * @throws {@link RoutingError} for a {@link TextFault} of the work, with the line. Lines are counted only now: counting
 *   them while reading would slow down what is read right.
 */
export async function namingLines<Result>(source: ByteSource, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof TextFault)) throw error;
    const line = `line ${await lineAt(source, error.position)}`;
    const { code, path, problem, remedy } = error;
    return refuse(code, problem, { file: source.name, place: path === '' ? line : `${line}, ${path}`, remedy });
  }
}

/** The number of the line, from 1, in which a byte is. */
async function lineAt(source: ByteSource, position: number): Promise<number> {
  const bytes = new Uint8Array(2 ** 16);
  let line = 1;
  for (let start = 0; start < position; ) {
    const part = bytes.subarray(0, Math.min(bytes.length, position - start));
    const length = await source.read(start, part);
    if (length === 0) break;
    for (let at = part.indexOf(newline); at >= 0 && at < length; at = part.indexOf(newline, at + 1)) line++;
    start += length;
  }
  return line;
}

const newline = 0x0a;
