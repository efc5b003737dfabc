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
 * Returns the options, after checking that they are an object and have no names but these. The names are checked in every
 * call, since a loop over the few names that an object has takes only some nanoseconds.
 *
 * @throws DispatchLayoutError with the given code
 */
export function checkOptions<Options extends object>(
  options: Options,
  names: ReadonlySet<keyof Options>,
  code: ErrorCode = 'OPTION',
): Options {
  if (typeof options !== 'object' || options === null) throw wrongValue(code, 'options', options, 'Pass an object.');
  for (const name in options) {
    if (!names.has(name)) throw unknownOption(name, names as ReadonlySet<string>, code);
  }
  return options;
}

function unknownOption(name: string, names: ReadonlySet<string>, code: ErrorCode): DispatchLayoutError {
  const list = [...names];
  const distances = list.map((known) => editDistance(name.toLowerCase(), known.toLowerCase()));
  const nearest = Math.min(...distances);
  const suggestion = nearest <= name.length / 3 ? `Did you mean ${list[distances.indexOf(nearest)]}? ` : '';
  const remedy = `${suggestion}The options are ${list.join(', ')}.`;
  return new DispatchLayoutError(code, `there is no option ${describe(name)} here`, { value: name, remedy });
}

/** How many characters must be inserted, deleted or replaced to make one of two words of the other. */
function editDistance(left: string, right: string): number {
  // One row of Levenshtein's table after the other
  let row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (const character of left) {
    const above = row;
    row = [above[0] + 1];
    for (let i = 0; i < right.length; i++) {
      row.push(Math.min(above[i] + (right[i] === character ? 0 : 1), above[i + 1] + 1, row[i] + 1));
    }
  }
  return row[right.length];
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
