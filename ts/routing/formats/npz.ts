/**
 * Numpy's `.npz` format: a zip archive of `.npy` files, stored or deflated.
 *
 * @module
 */
import type { ByteSource } from '../byte-source.ts';
import type { ArrayContents, OtherArray, StoredArray } from '../contents.ts';
import type { ReadOptions } from '../read-options.ts';
import { refuse } from '../routing-error.ts';
import { maskBeside } from '../without-padding.ts';
import { dataOf, type ZipEntry } from '../zip-directory.ts';
import { describeNpy, isOfIntegers, nothingKnown, openNpy, readNpyHeader } from './npy.ts';

const suffix = '.npy';
/** The most arrays that are looked at. Each takes about two kilobytes of memory, and time to unpack its header. */
const maxArrays = 4096;

/**
 * Finds the arrays of an archive.
 *
 * @param files all entries of its directory.
 */
export async function openNpz(
  source: ByteSource,
  files: readonly ZipEntry[],
  { array: wanted }: ReadOptions,
): Promise<ArrayContents> {
  const entries = files.filter(({ name }) => name.endsWith(suffix));
  if (entries.length === 0) refuseWithoutArrays(files, source.name);
  const arrays: StoredArray[] = [];
  const others: OtherArray[] = [];
  const names = entries.map(({ name }) => name.slice(0, -suffix.length));
  const seen = new Set<string>();
  const twice = names.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) {
    const problem = `is damaged: it holds array '${twice}' twice`;
    refuse('DAMAGED', problem, { file: source.name, remedy: 'save it again with numpy.savez' });
  }
  if (wanted === undefined && entries.length > maxArrays) {
    const problem = `holds ${entries.length} arrays, and no more than ${maxArrays} are looked at`;
    refuse('CHOICE', problem, { file: source.name, remedy: `say which it is: array: '${names[0]}'` });
  }
  for (const [index, entry] of entries.entries()) {
    const name = names[index];
    // The arrays that nobody asked for may be damaged, or of any size and kind.
    if (wanted !== undefined && wanted !== name && maskBeside(wanted) !== name) {
      others.push({ name, what: 'not looked at' });
      continue;
    }
    const data = await dataOf(source, entry, `array '${name}' of ${source.name}`);
    const header = await readNpyHeader(data);
    if (isOfIntegers(header) || wanted === name) arrays.push(await openNpy(data, name));
    else others.push({ name, what: describeNpy(header) });
    await data.release?.();
  }
  return { kind: 'arrays', format: 'npz', ...nothingKnown, arrays, others };
}

function refuseWithoutArrays(files: readonly ZipEntry[], file: string): never {
  const remedy = 'save one with numpy.savez(path, topk_idx)';
  if (files.length === 0) refuse('NOT_ROUTING', 'is an .npz without arrays', { file, remedy });
  const names = files.map(({ name }) => name);
  const listed = names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
  refuse('NOT_ROUTING', `is a zip archive without an .npy array (${listed})`, { file, remedy });
}
