/**
 * Recognises mistyped names of commands. Commander takes such a name for the routing file, since a file can have any name.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { UsageError } from './fail.ts';

/**
 * The error to report instead of the original one if the first argument is not a file and resembles the name of a command.
 *
 * @param program the program, after it has failed to run.
 */
export function mistypedCommand({ args, commands }: Command): UsageError | undefined {
  const names = ['help', ...commands.map((command) => command.name())];
  const [word, kind] = args[0] === 'help' ? [args[1], 'not a command'] : [args[0], 'neither a file nor a command'];
  // A word with a dot or a slash is meant to be a file.
  const canBeCommand = word !== undefined && /^[\w-]+$/.test(word) && !names.includes(word);
  if (!canBeCommand || existsSync(word)) return undefined;
  const suggestion = suggest(word, names);
  return suggestion === undefined ? undefined : new UsageError(`'${word}' is ${kind} ${suggestion}`);
}

/** What commander suggests for a word where only the name of a command is possible: `(Did you mean doctor?)`. */
function suggest(word: string, names: readonly string[]): string | undefined {
  const commands = new Command().exitOverride().configureOutput({ writeErr() {} });
  for (const name of names) commands.command(name);
  try {
    commands.parse(['--', word], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return /\(Did you mean .*\)/.exec(error.message)?.[0];
    throw error;
  }
  return undefined;
}
