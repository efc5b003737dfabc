/**
 * Writes a whole file or nothing. The file is written under another name and then renamed, so that nobody can read an
 * incomplete file, and neither an error nor Ctrl-C leaves one.
 *
 * @module
 */
import {
  closeSync,
  ftruncateSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fail, failOnSystemError } from '../fail.ts';

/** The files that are being written, and must not be left behind. */
const unfinished = new Set<WholeFile>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A file that is being written, at any place of it. */
export class WholeFile {
  readonly #path: string;
  readonly #temporaryPath: string;
  /** A device or a pipe cannot be replaced: the file is copied into it. */
  readonly #isCopied: boolean;
  /** The descriptor of the file, from which what has been written can be read. */
  readonly descriptor: number;

  private constructor(path: string, temporaryPath: string, mode: number, isCopied: boolean) {
    this.#path = path;
    this.#temporaryPath = temporaryPath;
    this.#isCopied = isCopied;
    // A signal that comes just after the file was made must find who removes it
    if (unfinished.size === 0) {
      for (const signal of signals) process.once(signal, endBySignal);
      process.once('exit', discardAll);
    }
    try {
      this.descriptor = openSync(temporaryPath, 'wx+', mode);
    } catch (error) {
      stopWatching();
      throw error;
    }
    unfinished.add(this);
  }

  /** @param path the file to write. A symbolic link is followed. */
  static create(path: string): WholeFile {
    try {
      const existing = statSync(path, { throwIfNoEntry: false });
      if (existing?.isDirectory()) fail(`cannot write ${path}: it is a directory`);
      const target = existing === undefined ? path : realpathSync(path);
      const isCopied = existing !== undefined && !existing.isFile();
      const folder = isCopied ? tmpdir() : dirname(target);
      const temporaryPath = join(folder, `.${basename(target)}.${process.pid}.tmp`);
      return new WholeFile(target, temporaryPath, existing?.mode ?? 0o666, isCopied);
    } catch (error) {
      return failOnSystemError('write', path, error);
    }
  }

  /** Sets the length of the file. What has not been written is 0. */
  truncate(length: number): void {
    this.#do(() => ftruncateSync(this.descriptor, length));
  }

  /** Writes bytes from `position` on. */
  write(position: number, bytes: Uint8Array): void {
    this.#do(() => {
      for (let at = 0; at < bytes.length; ) {
        at += writeSync(this.descriptor, bytes, at, bytes.length - at, position + at);
      }
    });
  }

  /** Gives the file its name. */
  finish(): void {
    this.#do(() => {
      if (this.#isCopied) this.#copy();
      else renameSync(this.#temporaryPath, this.#path);
    });
    this.#end();
  }

  /** Writes all bytes to what has the name. It is not opened as a file to replace, since it must stay what it is. */
  #copy(): void {
    const target = openSync(this.#path, 'r+');
    try {
      const chunk = new Uint8Array(2 ** 20);
      for (let position = 0; ; ) {
        const length = readSync(this.descriptor, chunk, 0, chunk.length, position);
        if (length === 0) return;
        position += length;
        for (let at = 0; at < length; ) at += writeSync(target, chunk, at, length - at);
      }
    } finally {
      closeSync(target);
    }
  }

  /** Removes the file unless it is finished. */
  discard(): void {
    if (unfinished.has(this)) this.#end();
  }

  #end(): void {
    unfinished.delete(this);
    closeSync(this.descriptor);
    rmSync(this.#temporaryPath, { force: true });
    stopWatching();
  }

  #do(work: () => void): void {
    try {
      work();
    } catch (error) {
      failOnSystemError('write', this.#path, error);
    }
  }
}

/** Leaves signals and the end of the process alone, unless files are unfinished. */
function stopWatching(): void {
  if (unfinished.size > 0) return;
  for (const signal of signals) process.removeListener(signal, endBySignal);
  process.removeListener('exit', discardAll);
}

function discardAll(): void {
  for (const file of unfinished) file.discard();
}

/** Removes what is unfinished, and ends as the signal would have ended the process. */
function endBySignal(signal: NodeJS.Signals): void {
  discardAll();
  process.kill(process.pid, signal);
}
