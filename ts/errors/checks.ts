/**
 * Checks of what callers say in options.
 *
 * @module
 */
import { describe } from '../values/describe.ts';
import { isDetached } from '../values/typed-array.ts';
import { DispatchLayoutError, type ErrorCode } from './errors.ts';

/** The error of a value that is not what it must be. */
export function wrongValue(code: ErrorCode, name: string, value: unknown, remedy: string): DispatchLayoutError {
  return new DispatchLayoutError(code, `${name} is ${describe(value)}`, { value, remedy });
}

/**
 * Options, which must be an object.
 *
 * @throws DispatchLayoutError of the given code
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
 * Checks that an array is still there.
 *
 * @param owner what comes before the name in the message. It is apart from the name, since most calls need neither.
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
