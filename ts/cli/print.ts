/**
 * Writes to standard output. If that fails, the process ends, since nobody can receive its results any more.
 *
 * @module
 */
import { describeSystemError, reportFailure } from './fail.ts';

/**
 * Resolves when the output has been handed to the operating system. After an error it never resolves, since
 * {@link endOnOutputError} then ends the process.
 */
export function print(output: string | Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(output, (error) => {
      if (!error) resolve();
    });
  });
}

/**
 * Makes errors of standard output end the process. There is no message if the reader has closed the pipe because it has
 * seen enough, as `| head -1` does.
 */
export function endOnOutputError(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit();
    process.exit(reportFailure(describeSystemError('write', 'standard output', error)));
  });
}
