/**
 * The version of this package.
 *
 * @module
 */
import { createRequire } from 'node:module';

/** As in package.json, which the package exports under its own name. */
export const version: string = (createRequire(import.meta.url)('dispatch-layout/package.json') as { version: string })
  .version;
