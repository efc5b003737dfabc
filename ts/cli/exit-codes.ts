/**
 * The exit codes. Scripts rely on them, so that none ever changes its meaning.
 *
 * @module
 */

/** What each of them means. */
export const exitCodes = {
  /** All that was asked for is done. */
  done: 0,
  /** It is done, and what was found is bad news, such as a limit that was exceeded. Nothing gives this one yet. */
  finding: 1,
  /** A flag or an input is wrong, and nothing was done. */
  refused: 2,
  /** A bug of this program: `EX_SOFTWARE` of `sysexits.h`. Node.js itself would end with 1, which means something else here. */
  bug: 70,
} as const;
