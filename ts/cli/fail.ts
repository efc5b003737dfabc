/**
 * How the command fails: what the user gave (a file, a flag) is answered with one line and exit code 2; anything else is a
 * mistake of ours and shows its stack, with exit code 1.
 *
 * @module
 */
import { getSystemErrorMap } from 'node:util';
import { CommanderError } from 'commander';
import { DispatchLayoutError, InvalidExpertError } from './library.ts';

/** A problem with what the user gave. The message is one line that names the thing, and says what to do where it can. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Throws a {@link UsageError}, also where an expression is expected. */
export function fail(message: string): never {
  throw new UsageError(message);
}

/** Throws {@link describeSystemError}. */
export function failOnSystemError(action: string, name: string, error: unknown): never {
  throw describeSystemError(action, name, error);
}

/** An error of the operating system, such as ENOENT, with what failed and the path or stream; any other error as it is. */
export function describeSystemError(action: string, name: string, error: unknown): unknown {
  if (!isSystemError(error)) return error;
  const reason = getSystemErrorMap().get(error.errno)?.[1] ?? error.message;
  return new UsageError(`cannot ${action} ${name}: ${reason}`, { cause: error });
}

/** Rethrows an error of the library in the words of the command line; `where` says which file, and layer if there are some. */
export function failOnLibraryError(where: string, numExperts: number, error: unknown): never {
  if (error instanceof InvalidExpertError) {
    const problem = `${where}, token ${error.token}, slot ${error.slot}: ${error.value} is not an expert in [0, ${numExperts})`;
    const remedy = 'use -1 for an empty slot, correct --num-experts, or pass --invalid-experts ignore';
    throw new UsageError(`${problem}; ${remedy}`, { cause: error });
  }
  if (error instanceof DispatchLayoutError) throw new UsageError(inFlags(error.message), { cause: error });
  if (isOutOfMemory(error)) {
    throw new UsageError(`${where}: not enough memory; use fewer tokens or ranks, or one --layer`, { cause: error });
  }
  throw error;
}

/** Prints what went wrong to standard error. Returns the exit code. */
export function reportFailure(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    const message = error.message.replace(/^error: /, '');
    return printFailure(error.code === 'commander.help' ? 'no such command; see dispatch-layout --help' : message);
  }
  if (error instanceof UsageError) return printFailure(error.message);
  if (error instanceof DispatchLayoutError) return printFailure(inFlags(error.message));
  const stack = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`dispatch-layout: this is a bug of dispatch-layout, please report it\n${stack}\n`);
  return 1;
}

function printFailure(message: string): number {
  process.stderr.write(`dispatch-layout: ${onOneLine(message)}\n`);
  return 2;
}

/** Names and snippets from hostile files end up in messages: nothing of them may break the line or steer a terminal. */
function onOneLine(message: string): string {
  return message
    .replace(/\s*[\p{Cc}\u2028\u2029]+\s*/gu, ' ')
    .trim()
    .replace(/\.$/, '');
}

const flagOfOption: Readonly<Record<string, string>> = {
  numExperts: '--num-experts',
  numRanks: '--num-ranks',
  numRanksPerNode: '--ranks-per-node',
  invalidExperts: '--invalid-experts',
  placement: '--placement',
};

/** The library speaks of its options; here they are flags. */
export function inFlags(message: string): string {
  return message
    .replace(/\bdevice: '(\w+)'/g, '--device $1')
    .replace(/\binvalidExperts: '(\w+)'/g, 'invalidExperts $1')
    .replace(/\b[a-zA-Z]+\b(?!\[)/g, (word) => (Object.hasOwn(flagOfOption, word) ? flagOfOption[word] : word));
}

function isSystemError(error: unknown): error is Error & { errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number';
}

function isOutOfMemory(error: unknown): boolean {
  return (
    error instanceof RangeError && /allocation failed|Invalid (typed )?array( buffer)? length/i.test(error.message)
  );
}
