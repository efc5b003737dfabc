/**
 * Whole numbers in the form in which people read them.
 *
 * @module
 */

/** A whole number with separators between thousands: `1,234`. */
export function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}
