/**
 * The file of an order: its outputs, and the number of rows.
 *
 * @module
 */
import type { RoutingOrder } from '../compute/order.ts';
import { formatNpy } from './npy.ts';
import { writeOutputsFile } from './outputs-file.ts';

/**
 * Writes the orders of all chosen layers. The outputs are in the order of the library's table. The order must not
 * change, so that the same input gives the same bytes in every version.
 */
export function writeOrderFile(path: string, order: RoutingOrder): void {
  const { computation, numRows, routing } = order;
  const shape = routing.hasLayerAxis ? [numRows.length] : [];
  const num_rows = formatNpy(BigInt64Array.from(numRows, BigInt), shape);
  writeOutputsFile(path, order, computation.form.outputs, { num_rows });
}
