/**
 * Checks of what callers say in options.
 *
 * @module
 */
import { describe } from '../values/describe.ts';
import { DispatchLayoutError, type ErrorCode } from './errors.ts';

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
  throw new DispatchLayoutError(code, `${name} is ${describe(options)}`, { value: options, remedy: 'Pass an object.' });
}

/** @throws DispatchLayoutError `OPTION` */
export function checkFlag(name: string, flag: unknown): void {
  if (flag === undefined || typeof flag === 'boolean') return;
  throw new DispatchLayoutError('OPTION', `${name} is ${describe(flag)}`, {
    value: flag,
    remedy: 'It must be true or false.',
  });
}

/** @throws DispatchLayoutError `OPTION` */
export function checkCount(name: string, count: unknown): void {
  if (Number.isInteger(count) && (count as number) >= 0) return;
  throw new DispatchLayoutError('OPTION', `${name} is ${describe(count)}`, {
    value: count,
    remedy: 'It must be an integer, 0 or more.',
  });
}
