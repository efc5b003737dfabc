/**
 * What a format is. Each module of `formats/` exports one, and `formats/index.ts` has the table of all.
 *
 * @module
 */
import type { ByteSource } from './byte-source.ts';
import type { Contents, FormatName } from './contents.ts';
import type { ReadOptions } from './read-options.ts';

/** How many bytes of a file a format sees when it is asked whether the file is its own. */
export const headBytes = 4096;

/** A format of one file. */
export interface Format {
  readonly name: FormatName;
  /** With its article, for messages: `an .npy file`. */
  readonly noun: string;
  /**
   * Whether a file is of this format. It is asked of one format after the other, in the order of the table.
   *
   * @param head the first {@link headBytes} bytes of the file, or all of it.
   */
  recognises(head: Uint8Array): boolean;
  /**
   * Finds out what is in the file. Memory and time are bounded by what the file really has, not by what it says.
   *
   * @throws {@link RoutingError} if the file is damaged, or holds neither ids nor counts.
   */
  open(source: ByteSource, options: ReadOptions): Promise<Contents>;
}

/** A format of several files in one directory. */
export interface DirectoryFormat {
  readonly name: FormatName;
  /**
   * The names of the files that are read of a directory of this format; of any other directory none.
   *
   * @param names the names of all that is in the directory.
   */
  choose(names: readonly string[]): readonly string[];
  /** @param files the chosen files by their names in the directory. */
  open(files: ReadonlyMap<string, ByteSource>, options: ReadOptions): Promise<Contents>;
}
