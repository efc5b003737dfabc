/**
 * Zip archives. What is in them says which format they are.
 *
 * @module
 */
import type { Format } from '../format.ts';
import { listZipEntries, zipMagic } from '../zip-directory.ts';
import { openNpz } from './npz.ts';
import { isTorchFile, openPt } from './pt.ts';

/** The formats that are zip archives: `.npz` and `.pt`. */
export const zipFormat: Format = {
  name: 'npz',
  noun: 'an .npz file',
  recognises: (head) => String.fromCharCode(...head.subarray(0, zipMagic.length)) === zipMagic,
  async open(source, options) {
    const entries = await listZipEntries(source);
    return isTorchFile(entries) ? openPt(source, entries, options) : openNpz(source, entries, options);
  },
};
