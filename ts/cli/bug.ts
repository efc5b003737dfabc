/**
 * Reports an error that the program does not expect. It imports nothing of the library, since the library may be what
 * is broken.
 *
 * @module
 */
import { exitCodes } from './exit-codes.ts';

/** Prints it with its stack to standard error, and returns the exit code. */
export function reportBug(error: unknown): number {
  const stack = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`dispatch-layout: this is a bug in dispatch-layout; please report it\n${stack}\n`);
  return exitCodes.bug;
}
