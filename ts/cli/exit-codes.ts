/**
 * The exit codes. Scripts rely on them, so none may ever change its meaning.
 *
 * @module
 */

/** What each of them means. */
export const exitCodes = {
  /** The command did what was asked. */
  done: 0,
  /** The command did what was asked, and found something bad: `check` has findings, or a limit is exceeded. */
  finding: 1,
  /** A flag or an input is wrong, and nothing was done. */
  refused: 2,
  /**
   * There is a bug in this program: `EX_SOFTWARE` of `sysexits.h`. Node.js itself would end with 1, which is a finding
   * here.
   */
  bug: 70,
} as const;
