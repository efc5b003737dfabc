/**
 * How the command fails. If the reason is in a file or a flag, or there is too little memory, it prints one line and exits
 * with code 2. Any other error is a bug of this program: it prints the stack and exits with code 70.
 *
 * @module
 */
import { getSystemErrorMap } from 'node:util';
import { CommanderError } from 'commander';
import { RoutingError } from '../routing/index.ts';
import { reportBug } from './bug.ts';
import { exitCodes } from './exit-codes.ts';
import { DispatchLayoutError, InvalidExpertError } from './library.ts';

/** A problem with a file or a flag. The message is one line that names it and, where possible, says what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Throws a {@link UsageError}. A call of it can be used where an expression is needed. */
export function fail(message: string): never {
  throw new UsageError(message);
}

/** Throws what {@link describeSystemError} returns. */
export function failOnSystemError(action: string, name: string, error: unknown): never {
  throw describeSystemError(action, name, error);
}

/**
 * Turns an error of the operating system, such as ENOENT, into one that says what failed with which file or stream. Any
 * other error is returned as it is.
 */
export function describeSystemError(action: string, name: string, error: unknown): unknown {
  if (!isSystemError(error)) return error;
  const reason = getSystemErrorMap().get(error.errno)?.[1] ?? error.message;
  return new UsageError(`cannot ${action} ${name}: ${reason}`, { cause: error });
}

/**
 * Calls `work`, which needs memory, and throws a {@link UsageError} if there is too little.
 *
 * @param what what the memory is for, such as `the 800 bytes of routing.npy`.
 * @param remedy what the user can do to need less memory.
 */
export function withMemory<Result>(what: string, remedy: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (!isOutOfMemory(error)) throw error;
    throw new UsageError(`not enough memory for ${what}; ${remedy}`, { cause: error });
  }
}

/**
 * Rethrows an error of the library in the words of the command line.
 *
 * @param where the file, and the layer if it has several.
 * @param firstToken the token of the file that the library calls token 0.
 */
export function failOnLibraryError(where: string, numExperts: number, error: unknown, firstToken = 0): never {
  if (error instanceof InvalidExpertError) {
    const problem = `${where}, token ${firstToken + error.token}, slot ${error.slot}: ${error.value} is not an expert in [0, ${numExperts})`;
    const emptyId = `pass --empty-id ${error.value} if it stands for an empty slot`;
    const remedy = `${emptyId}, correct --num-experts, or pass --invalid-experts ignore`;
    throw new UsageError(`${problem}; ${remedy}`, { cause: error });
  }
  if (error instanceof DispatchLayoutError) throw new UsageError(inFlags(error.message), { cause: error });
  throw error;
}

/** Prints to standard error what went wrong, and returns the exit code. */
export function reportFailure(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.done;
    const message = error.message.replace(/^error: /, '');
    return printFailure(error.code === 'commander.help' ? 'no such command; see dispatch-layout --help' : message);
  }
  if (error instanceof UsageError) return printFailure(error.message);
  if (error instanceof DispatchLayoutError || error instanceof RoutingError)
    return printFailure(inFlags(error.message));
  if (isOutOfMemory(error))
    return printFailure('not enough memory; use a smaller file, or give the process more memory');
  return reportBug(error);
}

function printFailure(message: string): number {
  process.stderr.write(`dispatch-layout: ${onOneLine(message)}\n`);
  return exitCodes.refused;
}

/**
 * Replaces control characters and line breaks. Messages quote names and pieces of files, and a hostile file must not be
 * able to add lines to the output or control the terminal.
 */
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
  numGroups: '--groups',
  sourceRank: '--source-rank',
  invalidExperts: '--invalid-experts',
  placement: '--placement',
  numLayers: '--num-layers',
  numTopk: '--num-topk',
  idType: '--dtype',
};

/** Replaces the names of the library's options in a message by the flags that stand for them here. */
export function inFlags(message: string): string {
  return message
    .replace(/\bdevice: '([\w:]+)'/g, '--device $1')
    .replace("placement: 'linear' or 'round_robin', a placement table,", 'placement linear, round_robin or a table,')
    .replace(/\b(invalidExperts|placement): '(\w+)'/g, '$1 $2')
    .replace('Pass model, one of:', 'Keep one of them in it:')
    .replace('make one from them by rebalance', 'make one from them with dispatch-layout place FILE')
    .replace('Map the ids by mapToPhysical, or write a form that has replicas', 'Pass a --format that has replicas')
    .replace(/\b(axes|array): '([^']*)'/g, '--$1 $2')
    .replace(
      /\bopenRoutingOrCounts reads counts\b/g,
      'dispatch-layout place FILE --num-experts E --num-ranks R takes counts',
    )
    .replace(/\b[a-zA-Z]+\b(?!\[)/g, (word) => (Object.hasOwn(flagOfOption, word) ? flagOfOption[word] : word));
}

function isSystemError(error: unknown): error is Error & { errno: number } {
  return error instanceof Error && 'errno' in error && typeof error.errno === 'number';
}

/** Whether the engine or a library of Node.js could not get memory, or no piece of memory as large as it needs. */
function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return outOfMemoryCodes.includes(code);
  return error instanceof RangeError && /allocation failed|Invalid (\w+ )*length/i.test(error.message);
}

const outOfMemoryCodes = ['ERR_MEMORY_ALLOCATION_FAILED', 'ERR_STRING_TOO_LONG', 'Z_MEM_ERROR'];
