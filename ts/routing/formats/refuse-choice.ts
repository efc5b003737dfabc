/**
 * Refuses the option `array` for files that have nothing to choose from.
 *
 * @module
 */
import { refuse } from '../routing-error.ts';

/** @param array what the caller has chosen. */
export function refuseChoice(file: string, array: string): never {
  refuse('CHOICE', `has no arrays with names, and array: '${array}' chooses one`, {
    file,
    remedy: `leave out array: '${array}'`,
  });
}
