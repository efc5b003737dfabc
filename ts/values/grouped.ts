/**
 * Whole numbers in the form in which people read them.
 *
 * @module
 */

/** A whole number with separators between thousands: `1,234`. */
export function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** So many of something: `1 layer`, `1,664 windows`. */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}`;
}
