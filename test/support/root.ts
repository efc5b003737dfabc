/**
 * Where the repository is.
 *
 * @module
 */
import { fileURLToPath } from 'node:url';

export const rootUrl = new URL('../..', import.meta.url);

/** Its path, which ends in a slash. */
export const root = fileURLToPath(rootUrl);
