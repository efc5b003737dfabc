/**
 * An object with a value for each output of a layout.
 *
 * @module
 */
import { type OutputName, outputNames } from '../../layout/outputs.ts';

/** Makes an object of what `makeValue` returns for each output. */
export function perOutput<Value>(makeValue: (name: OutputName) => Value): Record<OutputName, Value> {
  const values = {} as Record<OutputName, Value>;
  for (const name of outputNames) values[name] = makeValue(name);
  return values;
}
