/**
 * Writes to standard output.
 *
 * @module
 */

/** Resolves when the text or the bytes have been handed over, so that a pipe gets all of them. */
export function print(output: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(output, (error) => (error ? reject(error) : resolve()));
  });
}

/** Ends quietly when whoever reads has seen enough, as with `| head -1`. */
export function exitQuietlyOnClosedPipe(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
}
