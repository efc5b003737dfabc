/**
 * Opens the sources of routing, and lets the format of each find out what is in it.
 *
 * @module
 */
import { type OpenSource, openPath, pathIn, spool } from '#routing-platform';
import { type ByteSource, sourceOfBlob, sourceOfBytes } from './byte-source.ts';
import type { Contents } from './contents.ts';
import { type Format, headBytes } from './format.ts';
import { directoryFormats, formats } from './formats/index.ts';
import type { ReadOptions } from './read-options.ts';
import { refuse } from './routing-error.ts';

/**
 * What routing is read from: the path of a file or directory (only where there are paths: in Node.js, Bun and Deno), a
 * Blob, such as a file that a user chose, bytes in memory, or a stream, such as standard input. Several files that are
 * those of a directory of TensorRT-LLM are read as the directory.
 */
export type RoutingSource = string | Blob | Uint8Array | AsyncIterable<Uint8Array>;

/** Options of {@link openRouting}. */
export interface OpenRoutingOptions extends ReadOptions {
  /** What to call a source without a path in messages. Default: the name of a `File`, else `the routing`. */
  readonly name?: string | undefined;
  /**
   * Whether the thread may wait for the disk where it reads a path, instead of attending to other events. This is faster,
   * and right for a program that does nothing else. Default `false`.
   */
  readonly waits?: boolean | undefined;
  /**
   * Is called whenever bytes of a source have been read, with their number. JSON and CSV are read as a whole while they
   * are opened, which takes long for large files.
   */
  readonly onRead?: ((numBytes: number) => void) | undefined;
}

/** Files that have been opened. */
export interface OpenedContents {
  readonly files: readonly { readonly name: string; readonly contents: Contents }[];
  close(): void;
}

/** Opens files of ids or counts, and finds out what is in each. */
export async function openContents(
  source: RoutingSource | readonly RoutingSource[],
  options: OpenRoutingOptions,
): Promise<OpenedContents> {
  const sources = isSeveral(source) ? source : [source];
  if (sources.length === 0) refuse('CHOICE', 'has no sources', { file: 'the routing', remedy: 'give one or more' });
  const toClose: OpenSource[] = [];
  const close = (): void => {
    for (const each of toClose.splice(0)) each.close();
  };
  try {
    const directory = filesOfDirectory(sources);
    if (directory !== null) {
      const contents = await openDirectory('the files', [...directory.keys()], options, (name) => {
        const file = directory.get(name) as File;
        return sourceOfBlob(file, file.name);
      });
      return { files: [{ name: [...directory.keys()].join(', '), contents }], close };
    }
    const files: { name: string; contents: Contents }[] = [];
    for (const each of sources) files.push(await openOne(each, options, toClose));
    return { files, close };
  } catch (error) {
    close();
    throw error;
  }
}

function isSeveral(source: RoutingSource | readonly RoutingSource[]): source is readonly RoutingSource[] {
  return Array.isArray(source);
}

/**
 * The files of a directory that only a known program writes, by their names; null where they are files of their own. This
 * is how a page gets a directory.
 */
function filesOfDirectory(sources: readonly RoutingSource[]): ReadonlyMap<string, File> | null {
  const files = sources.filter((source): source is File => source instanceof Blob && 'name' in source);
  if (files.length !== sources.length || files.length < 2) return null;
  const byName = new Map(files.map((file) => [file.name, file]));
  return directoryFormats.some((format) => format.choose([...byName.keys()]).length > 0) ? byName : null;
}

async function openOne(
  source: RoutingSource,
  options: OpenRoutingOptions,
  toClose: OpenSource[],
): Promise<{ name: string; contents: Contents }> {
  const keep = (open: OpenSource): OpenSource => {
    toClose.push(open);
    return open;
  };
  const name = nameOf(source, options);
  const open = async (stream: AsyncIterable<Uint8Array>): Promise<{ name: string; contents: Contents }> => {
    const spooled = keep(await spool(recognised(stream, name), name));
    return { name, contents: await openFile(spooled, options) };
  };
  if (source instanceof Uint8Array) return { name, contents: await openFile(sourceOfBytes(source, name), options) };
  if (source instanceof Blob) return { name, contents: await openFile(sourceOfBlob(source, name), options) };
  if (typeof source !== 'string') return open(source);
  const found = openPath(source, options.waits === true);
  if (isNames(found)) {
    const openNamed = async (each: string): Promise<ByteSource> => {
      const file = pathIn(source, each);
      const opened = openPath(file, options.waits === true);
      if (isNames(opened)) refuse('DAMAGED', 'is a directory where a file should be', { file, remedy: nameTheFiles });
      return keep('read' in opened ? opened : await spool(opened, file));
    };
    return { name, contents: await openDirectory(name, found, options, openNamed) };
  }
  return 'read' in found ? { name, contents: await openFile(keep(found), options) } : open(found);
}

function nameOf(source: RoutingSource, { name }: OpenRoutingOptions): string {
  if (typeof source === 'string') return source;
  return name ?? (source instanceof Blob && 'name' in source ? String(source.name) : 'the routing');
}

function isNames(found: unknown): found is readonly string[] {
  return Array.isArray(found);
}

/** Hands a stream on, unless its first bytes are of no known format: it need not be read to its end then. */
async function* recognised(stream: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array, void, void> {
  let head: Uint8Array | null = new Uint8Array(0);
  for await (const chunk of stream) {
    if (head !== null) {
      const longer: Uint8Array = new Uint8Array(head.length + chunk.length);
      longer.set(head);
      longer.set(chunk, head.length);
      head = longer;
      if (head.length >= headBytes) {
        recognise(head.subarray(0, headBytes), name);
        head = null;
      }
    }
    yield chunk;
  }
}

/** The same bytes, of which the caller is told when they are read. */
function watched(source: ByteSource, { onRead }: OpenRoutingOptions): ByteSource {
  if (onRead === undefined) return source;
  return {
    ...source,
    async read(position, into) {
      const length = await source.read(position, into);
      onRead(length);
      return length;
    },
  };
}

async function openFile(given: ByteSource, options: OpenRoutingOptions): Promise<Contents> {
  const source = watched(given, options);
  const head = new Uint8Array(Math.min(headBytes, source.size));
  const length = await source.read(0, head);
  return recognise(head.subarray(0, length), source.name).open(source, options);
}

const nameTheFiles = 'name the files in it';

/** @param open opens a file of the directory. */
async function openDirectory(
  path: string,
  names: readonly string[],
  options: OpenRoutingOptions,
  open: (name: string) => ByteSource | Promise<ByteSource>,
): Promise<Contents> {
  const format = directoryFormats.find((each) => each.choose(names).length > 0);
  if (format === undefined) {
    const problem = 'is a directory, and not one that a known program writes';
    return refuse('UNKNOWN_FORMAT', problem, { file: path, remedy: nameTheFiles });
  }
  const files = new Map<string, ByteSource>();
  for (const name of format.choose(names)) files.set(name, watched(await open(name), options));
  return format.open(files, options);
}

/** The format of a file. */
function recognise(head: Uint8Array, file: string): Format {
  if (head.length === 0) refuse('UNKNOWN_FORMAT', 'is empty', { file, remedy: 'save or copy it again' });
  const format = formats.find((each) => each.recognises(head));
  if (format !== undefined) return format;
  const start = String.fromCharCode(...head.subarray(0, 64));
  if (start.startsWith('\x1f\x8b')) {
    const remedy = 'unpack it first: gzip -dc FILE | dispatch-layout -';
    refuse('UNKNOWN_FORMAT', 'is compressed with gzip', { file, remedy });
  }
  if (start.startsWith('version https://git-lfs')) {
    const remedy = 'get the file itself: git lfs pull';
    refuse('UNKNOWN_FORMAT', 'is a pointer of Git LFS and not the file that it stands for', { file, remedy });
  }
  const remedy = 'from Python, save with numpy.save(path, topk_idx)';
  return refuse('UNKNOWN_FORMAT', 'is of no format that is read', { file, remedy });
}
