/**
 * The zip archive that `torch.save` writes: the record `data.pkl` has the object, and `data/{key}` the bytes of each
 * storage, all in one folder. `caffe2/serialize/inline_container.cc` of PyTorch is its reader.
 *
 * @module
 */
import { type ByteSource, readExactly } from '../../byte-source.ts';
import { refuse } from '../../routing-error.ts';
import { type DataOptions, dataOf, type ZipEntry } from '../../zip-directory.ts';
import type { Tensor } from '../tensors.ts';
import type { PythonTensor, PythonValue } from './python-values.ts';
import { unpickle } from './unpickle.ts';

/** What a file holds. */
export interface TorchFile {
  /** The object that was saved. */
  readonly root: PythonValue;
  /** Finds the data of a tensor of the object. */
  open(tensor: PythonTensor, name: string): Promise<Tensor>;
}

/**
 * The longest pickle that is read. Tensors have records of their own, and PyTorch deflates nothing, so that a deflated
 * pickle is short unless it is there to take time.
 */
const maxPickleBytes = { stored: 2 ** 30, deflated: 2 ** 26 };
const maxTextBytes = 64;
/** The versions of the format that PyTorch reads. */
const maxVersion = 10;
/** PyTorch does not check checksums, and can leave them out: `torch.serialization.set_crc32_options(False)`. */
const asPyTorch: DataOptions = { isVerified: false };

/**
 * Reads the object of a file, but not the data of its tensors.
 *
 * @param entries all entries of the archive.
 * @throws {@link RoutingError} `DAMAGED`, or `UNSUPPORTED` if the file is no data but a program
 */
export async function readTorchFile(source: ByteSource, entries: readonly ZipEntry[]): Promise<TorchFile> {
  const file = source.name;
  const records = recordsOf(entries, file);
  if (records.has('constants.pkl')) {
    refuse('UNSUPPORTED', 'is a TorchScript program, which would have to be run', {
      file,
      remedy: 'save the ids alone: torch.save(ids, path)',
    });
  }
  const find = (name: string): ZipEntry => {
    const entry = records.get(name);
    if (entry !== undefined) return entry;
    return damaged(file, `lacks the record ${name}`);
  };
  const open = (name: string, limits: typeof maxPickleBytes): Promise<ByteSource> => {
    const entry = find(name);
    const maxBytes = entry.method === 'stored' ? limits.stored : limits.deflated;
    if (entry.unpackedBytes > maxBytes) {
      const problem = `has ${entry.unpackedBytes} bytes, over the limit of ${maxBytes}`;
      const remedy = 'save the ids alone, as tensors: torch.save(ids, path)';
      refuse('TOO_LARGE', problem, { file, place: `record ${name}`, remedy });
    }
    return dataOf(source, entry, `${file}, record ${name}`, asPyTorch);
  };
  const readText = async (name: string): Promise<string> => {
    const data = await open(name, { stored: maxTextBytes, deflated: maxTextBytes });
    return new TextDecoder().decode(await readExactly(data, 0, data.size, `the record ${name}`));
  };

  const version = Number(await readText('version'));
  if (!(version >= 1 && version <= maxVersion)) {
    const problem = `is of version ${version} of PyTorch's format; 1 to ${maxVersion} are known`;
    refuse('UNSUPPORTED', problem, {
      file,
      place: 'record version',
      remedy: 'save it with a version of PyTorch of 2026',
    });
  }
  const byteOrder = records.has('byteorder') ? await readText('byteorder') : 'little';
  if (byteOrder !== 'little' && byteOrder !== 'big') damaged(file, 'is neither little nor big', 'record byteorder');
  const root = await unpickle(await open('data.pkl', maxPickleBytes), file, 'data.pkl');

  return {
    root,
    async open({ storage, type, offset, shape, strides }, name) {
      const record = `data/${storage.key}`;
      const entry = find(record);
      const neededBytes = storage.numElements * storage.type.bytes;
      if (entry.unpackedBytes < neededBytes) {
        damaged(file, `has ${entry.unpackedBytes} bytes, and the storage needs ${neededBytes}`, `record ${record}`);
      }
      return {
        name,
        type: type.name,
        littleEndian: byteOrder === 'little',
        shape,
        strides,
        source: await dataOf(source, entry, `${file}, record ${record}`, asPyTorch),
        position: offset * type.bytes,
      };
    },
  };
}

/** The records by their names in the folder. */
function recordsOf(entries: readonly ZipEntry[], file: string): Map<string, ZipEntry> {
  const folder = entries[0].name.slice(0, entries[0].name.indexOf('/') + 1);
  const records = new Map<string, ZipEntry>();
  for (const entry of entries) {
    const inFolder = entry.name.startsWith(folder) && folder !== '' ? entry.name.slice(folder.length) : undefined;
    if (inFolder === undefined) {
      const where = folder === '' ? 'a folder' : `the folder ${folder}`;
      damaged(file, `is not in ${where} as the records of PyTorch are`, `record ${entry.name.slice(0, 100)}`);
    }
    if (records.has(inFolder)) damaged(file, 'is there twice', `record ${entry.name.slice(0, 100)}`);
    records.set(inFolder, entry);
  }
  return records;
}

function damaged(file: string, problem: string, place?: string): never {
  refuse('DAMAGED', problem, { file, place, remedy: 'copy or save the file again' });
}
