/**
 * A table of numbers as a picture: one cell for each, whose colour says how it compares with the mean of its row.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { grouped } from './numbers.ts';
import type { Drawing } from './picture.ts';

/** A table. */
export interface HeatMapTable {
  readonly numRows: number;
  readonly numColumns: number;
  /** What is in a cell, over the mean of its row; NaN for nothing. */
  readonly valueAt: (row: number, column: number) => number;
  /** What is exactly in a cell, in lines. */
  readonly textAt: (row: number, column: number) => string;
  readonly rowLabel: string;
  readonly rowName: (row: number) => string;
  readonly columnLabel: string;
  readonly width: number;
}

/** More cells than these could neither be told apart nor be drawn at once. */
const mostCells = 2 ** 19;
/** From this on, all values have the same colour. */
const mostTimesMean = 4;
const marginLeft = 56;

/** Draws a table. The scheme can be told apart by people who do not see all colours, and its lightness only rises. */
export function heatMap(table: HeatMapTable): Drawing | string {
  const { numRows, numColumns, valueAt, textAt, width } = table;
  if (numRows * numColumns > mostCells) {
    return `${grouped(numRows)} times ${grouped(numColumns)} cells are too many for a picture. Their numbers can be saved.`;
  }
  const values = new Float64Array(numRows * numColumns);
  const points = [];
  let most = 2;
  for (let row = 0; row < numRows; row++) {
    for (let column = 0; column < numColumns; column++) {
      const value = valueAt(row, column);
      values[row * numColumns + column] = value;
      if (value > most) most = value;
      points.push({ x: column + 0.5, y: row + 0.5, text: textAt(row, column) });
    }
  }
  const end = Math.min(mostTimesMean, most);
  const rowHeight = Math.max(5, Math.min(26, 420 / numRows));
  return {
    points,
    plot: {
      width,
      height: Math.round(rowHeight * numRows + 62),
      marginLeft,
      marginRight: 8,
      marginTop: 8,
      marginBottom: 36,
      x: {
        label: table.columnLabel,
        domain: [0, numColumns],
        ...ticksOf(numColumns, (width - marginLeft) / 44, String),
      },
      y: {
        label: table.rowLabel,
        labelAnchor: 'center',
        labelArrow: 'none',
        domain: [numRows, 0],
        ...ticksOf(numRows, (rowHeight * numRows) / 14, table.rowName),
      },
      color: {
        type: 'linear',
        scheme: 'cividis',
        domain: [0, end],
        clamp: true,
        label: most > end ? `times the mean (${end} or more)` : 'times the mean',
        legend: true,
      },
      marks: [
        Plot.raster(values, {
          width: numColumns,
          height: numRows,
          x1: 0,
          x2: numColumns,
          y1: 0,
          y2: numRows,
          imageRendering: 'pixelated',
        }),
      ],
    },
  };
}

/** Ticks in the middle of cells, as many as have room. */
export function ticksOf(
  numCells: number,
  most: number,
  nameOf: (cell: number) => string,
): { readonly ticks: number[]; readonly tickFormat: (at: number) => string } {
  const step = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512].find((each) => numCells / each <= most) ?? 1024;
  const ticks = [];
  for (let cell = 0; cell < numCells; cell += step) ticks.push(cell + 0.5);
  return { ticks, tickFormat: (at) => nameOf(Math.floor(at)) };
}
