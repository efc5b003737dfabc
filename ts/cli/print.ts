/**
 * Writes to standard output, and ends the process when that fails: there is nobody left to talk to.
 *
 * @module
 */
import { describeSystemError, reportFailure } from './fail.ts';

/** Resolves when the text or the bytes have been handed over. After an error it never does: see below. */
export function print(output: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(output, (error) => {
      if (!error) resolve();
    });
  });
}

/** Ends the process on errors of standard output; quietly when its reader has seen enough, as with `| head -1`. */
export function endOnOutputError(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    process.exit(reportFailure(describeSystemError('write', 'standard output', error)));
  });
}
