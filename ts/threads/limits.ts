/**
 * How many threads a group can have.
 *
 * @module
 */

/** More threads than this wait for memory. */
export const maxThreads = 32;
