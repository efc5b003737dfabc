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
 * Returns the options after checking that they are an object.
 *
 * @throws DispatchLayoutError with the given code
 */
export function checkObject<Options extends object>(
  name: string,
  options: Options,
  code: ErrorCode = 'OPTION',
): Options {
  if (typeof options === 'object' && options !== null) return options;
  throw wrongValue(code, name, options, 'Pass an object.');
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
