/**
 * What a picture is.
 *
 * @module
 */
import type { PlotOptions } from '@observablehq/plot';
import type { View } from '../compute/view.ts';

/** A place in a picture that says something when it is pointed at, or reached by the arrow keys. */
export interface Point {
  readonly x: number;
  readonly y: number;
  /** What is exactly there, in lines. */
  readonly text: string;
}

/** A picture of one view. */
export interface Drawing {
  readonly plot: PlotOptions;
  /** Whether what is above or below a point says the same, as in bars and lines over numbers. */
  readonly pointsAreColumns?: true;
  readonly points: readonly Point[];
}

/** A kind of picture. */
export interface Picture {
  /** Its name in files. */
  readonly id: string;
  readonly title: string;
  /** Whether it takes the whole width of the page. */
  readonly isWide?: true;
  /** What it shows, in full sentences. */
  readonly caption: (view: View) => string;
  /** Draws it. A text says why it cannot be drawn, and null that there is nothing to show. */
  readonly draw: (view: View, width: number) => Drawing | string | null;
  /** The numbers of it. */
  readonly data: (view: View) => unknown;
}
