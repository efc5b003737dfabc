/**
 * Writes a whole file or nothing. The file is written under another name and then renamed, so that nobody can read an
 * incomplete file, and a crash leaves no incomplete file under its name.
 *
 * @module
 */
import { closeSync, openSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fail, failOnSystemError } from '../fail.ts';

/** @param path the file to write. A symbolic link is followed, and a device or a pipe is written to directly. */
export function writeWholeFile(path: string, bytes: Uint8Array): void {
  try {
    const existing = statSync(path, { throwIfNoEntry: false });
    if (existing?.isDirectory()) fail(`cannot write ${path}: it is a directory`);
    if (existing !== undefined && !existing.isFile()) {
      writeFileSync(path, bytes);
      return;
    }
    replaceFile(existing === undefined ? path : realpathSync(path), bytes, existing?.mode ?? 0o666);
  } catch (error) {
    failOnSystemError('write', path, error);
  }
}

function replaceFile(path: string, bytes: Uint8Array, mode: number): void {
  const temporaryPath = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  const descriptor = openSync(temporaryPath, 'wx', mode);
  try {
    try {
      writeFileSync(descriptor, bytes);
    } finally {
      closeSync(descriptor);
    }
    renameSync(temporaryPath, path);
  } catch (error) {
    rmSync(temporaryPath, { force: true });
    throw error;
  }
}
