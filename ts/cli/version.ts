/**
 * The version of this package.
 *
 * @module
 */
import { createRequire } from 'node:module';

/** The version in package.json, which the package exports and can therefore import by its own name. */
export const version: string = (createRequire(import.meta.url)('dispatch-layout/package.json') as { version: string })
  .version;
