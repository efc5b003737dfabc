/**
 * What an error that nobody has thought of prints. Imports nothing of the library, since that may be what is broken.
 *
 * @module
 */
import { exitCodes } from './exit-codes.ts';

/** Prints it with its stack to standard error, and returns the exit code. */
export function reportBug(error: unknown): number {
  const stack = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`dispatch-layout: this is a bug of dispatch-layout, please report it\n${stack}\n`);
  return exitCodes.bug;
}
