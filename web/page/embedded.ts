/**
 * Reads the capture that lies in the page.
 *
 * @module
 */
import { readPageData, type Shown } from '../../ts/capture/document.ts';
import { byId } from './elements.ts';

/** The capture in the page, or null where there is none. */
export async function readEmbedded(): Promise<Shown | null> {
  const json = byId('data').textContent ?? '';
  if (json.trim() === '') return null;
  const packed = Uint8Array.from(atob((byId('bytes').textContent ?? '').trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return readPageData({ json, bytes });
}
