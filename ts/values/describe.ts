/**
 * Texts by which error messages name values.
 *
 * @module
 */
import { typedArrayName } from './typed-array.ts';

/** The class name of a typed array with its article: `an Int32Array`, `a Uint8Array`. */
export function withArticle(className: string): string {
  return `${className.startsWith('I') ? 'an' : 'a'} ${className}`;
}

/** A short text for an error message: the value itself if it is short, else what kind of thing it is. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}…` : value}'`;
  const name = typedArrayName(value);
  if (name !== undefined) return withArticle(name);
  if (Array.isArray(value)) {
    if (value.length > 8) return `an array of length ${value.length}`;
    return `[${value.map((element) => (Array.isArray(element) ? '[…]' : describe(element))).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const properties = Object.keys(value).slice(0, 8);
    return properties.length === 0 ? 'an object' : `an object with ${properties.join(', ')}`;
  }
  return typeof value === 'function' ? 'a function' : typeof value === 'bigint' ? `${value}n` : String(value);
}
