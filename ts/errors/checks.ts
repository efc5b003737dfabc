/**
 * Checks of the options that callers pass.
 *
 * @module
 */
import { describe } from '../values/describe.ts';
import { isDetached } from '../values/typed-array.ts';
import { DispatchLayoutError, type ErrorCode } from './errors.ts';

/** The error that says that a named value is not what it must be. */
export function wrongValue(code: ErrorCode, name: string, value: unknown, remedy: string): DispatchLayoutError {
  return new DispatchLayoutError(code, `${name} is ${describe(value)}`, { value, remedy });
}

/**
 * Checks that the options are an object that has only these names, and returns them. The names are checked in every
 * call: a loop over the few names of an object takes only a few nanoseconds.
 *
 * @throws DispatchLayoutError with the given code
 */
export function checkOptions<Options extends object>(
  options: Options,
  names: Readonly<Record<keyof Options, true>>,
  code: ErrorCode = 'OPTION',
): Options {
  if (typeof options !== 'object' || options === null) throw wrongValue(code, 'options', options, 'Pass an object.');
  for (const name in options) {
    // What other code has added to the prototype of all objects is no option
    if (names[name] !== true && !(name in Object.prototype)) throw unknownOption(name, Object.keys(names), code);
  }
  return options;
}

/** Where options belong that people may give to the wrong function. */
const owners: Readonly<Record<string, string | undefined>> = {
  mask: 'getDispatchLayout',
  alignment: 'getExpertPermutation',
  firstExpert: 'getExpertPermutation',
  numLocalExperts: 'getExpertPermutation',
  winner: 'getRankPermutation',
  numRanks: 'groups of ranks',
  numRanksPerNode: 'groups of ranks',
  placement: 'groups of ranks',
};

function unknownOption(name: string, names: readonly string[], code: ErrorCode): DispatchLayoutError {
  const numEdits = Math.floor(name.length / 3);
  const meant = names.find((known) => areNear(known.toLowerCase(), name.toLowerCase(), numEdits));
  const owner = owners[name];
  const suggestion =
    meant !== undefined ? `Did you mean ${meant}? ` : owner === undefined ? '' : `It is an option of ${owner}. `;
  const remedy = `${suggestion}The options are ${names.join(', ')}.`;
  return new DispatchLayoutError(code, `there is no option ${describe(name)} here`, { value: name, remedy });
}

/** Whether at most `numEdits` insertions, deletions and replacements of characters turn one word into the other. */
function areNear(left: string, right: string, numEdits: number): boolean {
  if (left === right) return true;
  // Without the second condition, a long word would take minutes
  if (numEdits === 0 || Math.abs(left.length - right.length) > numEdits) return false;
  let i = 0;
  while (left[i] === right[i]) i++;
  const rest = numEdits - 1;
  const [a, b] = [left.slice(i), right.slice(i)];
  return areNear(a.slice(1), b.slice(1), rest) || areNear(a.slice(1), b, rest) || areNear(a, b.slice(1), rest);
}

/**
 * Checks that the buffer of an array was not detached.
 *
 * @param owner what precedes the name in the message. It is a parameter of its own so that a call that does not fail,
 *   as most do not, builds no string.
 * @throws DispatchLayoutError `DETACHED_BUFFER`
 */
export function checkAttached(array: ArrayBufferView, name: string, owner = ''): void {
  if (!isDetached(array)) return;
  throw new DispatchLayoutError('DETACHED_BUFFER', `the buffer under ${owner}${name} was detached`, {
    value: array,
    remedy: 'It was transferred, to a worker for instance: use an array that this thread still owns.',
  });
}

/** @throws DispatchLayoutError `OPTION` */
export function checkFlag(name: string, flag: unknown): void {
  if (flag === undefined || typeof flag === 'boolean') return;
  throw wrongValue('OPTION', name, flag, 'It must be true or false.');
}

/** @throws DispatchLayoutError `OPTION` */
export function checkCount(name: string, count: unknown): void {
  if (Number.isInteger(count) && (count as number) >= 0) return;
  throw wrongValue('OPTION', name, count, 'It must be an integer, 0 or more.');
}

/**
 * Refuses to run an order of rows for which a workspace was not made.
 *
 * @param option the option of the workspace that would have asked for it.
 * @throws DispatchLayoutError `OPTION`
 */
export function refuseOrder(option: 'expertPermutation' | 'rankPermutation'): never {
  throw new DispatchLayoutError('OPTION', `this workspace was made without ${option}`, {
    value: undefined,
    remedy: `Make it with ${option}: true, or with the options of that order.`,
  });
}

/**
 * Whether an invalid id is an error.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readStrictness(invalidExperts: unknown): boolean {
  if (invalidExperts === undefined || invalidExperts === 'throw') return true;
  if (invalidExperts === 'ignore') return false;
  throw wrongValue('OPTION', 'invalidExperts', invalidExperts, "It must be 'throw' or 'ignore'.");
}
