/**
 * The table of formats, in the order in which a file is offered to them.
 *
 * @module
 */
import type { DirectoryFormat, Format } from '../format.ts';
import { csvFormat } from './csv.ts';
import { jsonFormat } from './json.ts';
import { npyFormat } from './npy.ts';
import { pickleFormat } from './pt.ts';
import { safetensorsFormat } from './safetensors.ts';
import { tensorrtLlmFormat } from './tensorrt-llm.ts';
import { zipFormat } from './zip.ts';

/** The formats of one file. */
export const formats: readonly Format[] = [
  npyFormat,
  zipFormat,
  safetensorsFormat,
  pickleFormat,
  // A header of CSV may begin with a string, which JSON may, too
  csvFormat,
  jsonFormat,
];

/** The formats of the files of a directory. */
export const directoryFormats: readonly DirectoryFormat[] = [tensorrtLlmFormat];
