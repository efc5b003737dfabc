/**
 * The form in which a capture lies in a page: a JSON document for what people may read, and the bytes of all arrays, one
 * after the other.
 *
 * @module
 */
import { type Capture, keptArray } from './capture.ts';
import type { Settings } from './settings.ts';

/** A capture with the settings by which it is shown first. */
export interface Shown {
  readonly capture: Capture;
  readonly settings: Settings;
}

/** What is written into a page. */
export interface PageData {
  /** JSON that can stand between tags: it contains no `<`. */
  readonly json: string;
  /** The counts of all layers as little-endian float64, then the ids of all layers. */
  readonly bytes: Uint8Array;
}

/** Raised when the form changes: a page reads only what was written for it. */
const version = 1;

/** Writes a capture. */
export function writePageData({ capture, settings }: Shown): PageData {
  const { counts, ids, ...facts } = capture;
  const json = JSON.stringify({ version, capture: facts, settings }).replaceAll('<', '\\u003c');
  const arrays = [...counts, ...ids];
  const bytes = new Uint8Array(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const array of arrays) {
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at += array.byteLength;
  }
  return { json, bytes };
}

/** Reads what {@link writePageData} has written. */
export function readPageData({ json, bytes }: PageData): Shown {
  const { version: written, capture: facts, settings } = JSON.parse(json);
  if (written !== version) throw new Error(`the data of this page are of version ${written}, and not of ${version}`);
  const { numLayers, numExperts, numKept, numTopk } = facts;
  const array = keptArray(numExperts);
  const idBytes = numKept * numTopk * array.BYTES_PER_ELEMENT;
  const whole = numLayers * (8 * numExperts + idBytes);
  if (bytes.length !== whole) throw new Error(`the data of this page are ${bytes.length} bytes, and not ${whole}`);
  // A copy of each part, since arrays must begin at a multiple of their element size
  const part = (from: number, length: number): ArrayBuffer => bytes.slice(from, from + length).buffer as ArrayBuffer;
  const layers = Array.from({ length: numLayers }, (_, layer) => layer);
  const firstIds = numLayers * 8 * numExperts;
  return {
    capture: {
      ...facts,
      counts: layers.map((layer) => new Float64Array(part(layer * 8 * numExperts, 8 * numExperts))),
      ids: layers.map((layer) => new array(part(firstIds + layer * idBytes, idBytes))),
    },
    settings,
  };
}
