#!/usr/bin/env node
/**
 * The program `dispatch-layout`: its commands and their flags. Each command calls a function from a module of its own.
 *
 * @module
 */
import { Command, CommanderError, Option } from 'commander';
import { RoutingError } from '../routing/index.ts';
import { type CheckFlags, check } from './check.ts';
import { type DoctorFlags, doctor } from './doctor.ts';
import { reportFailure, UsageError } from './fail.ts';
import {
  decimalNumber,
  limits,
  maskChoices,
  oneOrSeveral,
  orderChoices,
  planFormatChoices,
  wholeNumber,
  winnerChoices,
} from './flags.ts';
import { type GenerateFlags, generate, generatedTypes } from './generate/generate.ts';
import { mistypedCommand } from './mistyped.ts';
import type { PermuteFlags } from './order-flags.ts';
import { permute } from './permute.ts';
import { type PlaceFlags, place } from './place.ts';
import { isPlaceSweep, type PlaceSweepFlags, placeSweep } from './place-sweep.ts';
import { endOnOutputError } from './print.ts';
import { type ReceiveFlags, receive } from './receive.ts';
import { type RunFlags, run } from './run.ts';
import { defaultWindow, readingFlags, sharedFlags } from './shared-flags.ts';
import { isSweep, type SweepFlags, sweep } from './sweep.ts';
import { version } from './version.ts';
import { workloadNames } from './workloads/workload.ts';

const examples = `
Examples:
  dispatch-layout routing.npy --num-experts 64 --num-ranks 8
  dispatch-layout trace.npz --array ids --layer 3 --num-experts 64 --num-ranks 8
  dispatch-layout check routing.npy
  dispatch-layout routing.npy --num-experts 64 --num-ranks 8 --out layout.npz
  dispatch-layout permute routing.npy --num-experts 64 --out order.npz
  echo '[[0, 5], [3, -1]]' | dispatch-layout - --num-experts 8 --num-ranks 4
  dispatch-layout generate - |
    dispatch-layout - --num-experts 256 --num-ranks 32 --json

FILE is what vLLM, SGLang, Megatron-LM, TensorRT-LLM, slime, verl, llama.cpp and
others write: .npy, .npz, .pt, .safetensors, JSON, JSONL, CSV, or a directory of
TensorRT-LLM. Several files are those of several ranks, or the shards of one.
Without --layer, all layers are computed.

Exit codes: 0 means done. 2 means that a file or a flag is wrong, or that there
is too little memory; one line on standard error says what. 70 means a bug in
this program. 1 means that check has findings, or a limit of --fail-above is
exceeded.
`;

const permuteExamples = `
Examples:
  dispatch-layout permute routing.npy --num-experts 64 --out order.npz
  dispatch-layout permute routing.npy --num-experts 64 --alignment 128 --layer 3
  dispatch-layout permute routing.npy --num-experts 64 --first-expert 16
    --num-local-experts 8 --out local.npz
  dispatch-layout permute routing.npy --num-experts 64 --by rank --num-ranks 8

FILE is read as dispatch-layout FILE reads it. --num-ranks, --placement,
--replica-rule, --source-rank and --winner are flags of the order by rank. Its
rows are never padded.
`;

const checkExamples = `
Examples:
  dispatch-layout check capture.npz --num-experts 64
  dispatch-layout check router_trace_rank*.jsonl
  dispatch-layout check reply.json --num-layers 61 --num-topk 8 --json

Exit code 1 means that there are findings, 0 that there are none.
`;

const receiveExamples = `
Examples:
  dispatch-layout receive rank0.npy rank1.npy rank2.npy rank3.npy
    --num-experts 64
  dispatch-layout receive rank*.npy --num-experts 256 --ranks-per-node 4 --json
  dispatch-layout receive rank*.npy --num-experts 256 --alignment 128
    --out received.npz

There is one FILE for each rank, read as dispatch-layout FILE reads it. They are
in the order of ranks, unless they say of which rank they are.
`;

const placeExamples = `
Examples:
  dispatch-layout place trace.npy --num-experts 256 --num-ranks 32
    --redundant 32 -o plan.json
  dispatch-layout place trace.npy --num-experts 256 --num-ranks 32
    --placement plan.json --window 512 --json

The plan is that of EPLB. It is made from the first half of the tokens of each
layer, and judged by the second half, since every plan suits its own tokens.
FILE can also have counts of experts, such as those of SGLang's recorder. An
array has counts with --axes layers,experts or --axes steps,layers,experts.
`;

const generateExamples = `
Examples:
  dispatch-layout generate routing.npy
  dispatch-layout generate routing.npy --num-groups 8 --empty-share 0.1 --seed 7
  dispatch-layout generate trace.npy --layers 58 --skew 0.8 --dtype int16

  dispatch-layout generate hot.npy --workload k-hot --num-hot 4 --hot-share 0.4
  dispatch-layout generate rank{rank}.npy --num-ranks 8 --workload balanced
    --ragged 1.5

With {rank} in the name of FILE, there is a file for each rank. The same flags
give the same bytes on every machine.
`;

/** A command of which a part of the flags can be added at once. */
class ProgramCommand extends Command {
  override createCommand(name?: string): ProgramCommand {
    return new ProgramCommand(name);
  }

  /** Adds the flags that say how routing files are read. */
  addReadingFlags(): this {
    for (const flag of readingFlags) this.addOption(flag);
    return this;
  }
}

function createProgram(): Command {
  const program = new ProgramCommand('dispatch-layout');
  program
    .description("The dispatch layout of Mixture-of-Experts routing: DeepEP's get_dispatch_layout.")
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print this help, or that of a command')
    // Flags after the name of a subcommand belong to the subcommand, even if the main command has a flag of the same
    // name, such as --num-experts.
    .enablePositionalOptions()
    .argument('[files...]', "routing: one file or directory, or one for each rank; '-' is standard input")
    .addOption(sharedFlags.numExperts)
    .option(
      '--num-ranks <counts>',
      'ranks that share the experts (required); several, such as 8,16,24, are compared in a table',
      oneOrSeveral(wholeNumber(1, limits.ranks)),
    )
    .option(
      '--ranks-per-node <count>',
      'ranks of one node, which is one RDMA rank (default: 8)',
      wholeNumber(1, limits.ranks),
    )
    .addReadingFlags()
    .addOption(sharedFlags.placement)
    .addOption(sharedFlags.replicaRule)
    .addOption(sharedFlags.sourceRank)
    .addOption(
      new Option(
        '--mask <form>',
        "with --out: which token goes to which rank, as a byte or a bit each, or 'none' to leave it out (default: bytes)",
      ).choices(maskChoices),
    )
    .addOption(sharedFlags.device)
    .addOption(sharedFlags.invalidExperts)
    .addOption(sharedFlags.failAbove)
    .option(
      '--hidden-size <elements>',
      'elements of a token, to report the bytes that are sent',
      wholeNumber(1, 2 ** 31 - 1),
    )
    .option(
      '--bytes-per-element <bytes>',
      'with --hidden-size: bytes of an element of a token (default: 2)',
      decimalNumber(0.125, 16),
    )
    .option('--statistics', 'also count the experts of each batch, and pairs of experts that tokens select together')
    .option(
      '--window <tokens>',
      'with --statistics: how many tokens a batch has (default: 4096)',
      wholeNumber(1, 2 ** 31 - 1),
    )
    .option('--keep-dense', 'count layers that hold one expert only, instead of leaving them out')
    .option('--out <file>', "write the layout to an .npz, under DeepEP's names")
    .option('--html <file>', 'write a page of pictures; without FILE, a page into which files are dropped')
    .addOption(sharedFlags.fingerprint)
    .addOption(sharedFlags.json)
    .addHelpText('after', examples)
    .action((files: string[], flags: RunFlags | SweepFlags) =>
      isSweep(flags) ? sweep(files, flags) : run(files, flags),
    );

  program
    .command('permute')
    .description('compute the order of rows by expert, which a grouped GEMM needs, or by rank')
    .helpOption('-h, --help', 'print this help')
    .argument('[files...]', "routing: one file or directory, or one for each rank; '-' is standard input")
    .addOption(sharedFlags.numExperts)
    .addOption(new Option('--by <order>', 'what the rows are ordered by').choices(orderChoices).default('expert'))
    .option(
      '--alignment <rows>',
      'by expert: pad the rows of each expert to a multiple of this (default: 1)',
      wholeNumber(1, limits.alignment),
    )
    .option(
      '--first-expert <expert>',
      'by expert: the first of the local experts, whose selections have rows (default: 0)',
      wholeNumber(0, limits.experts),
    )
    .option(
      '--num-local-experts <count>',
      'by expert: local experts (default: all from the first on)',
      wholeNumber(1, limits.experts),
    )
    .option('--num-ranks <count>', 'by rank: ranks that share the experts (required)', wholeNumber(1, limits.ranks))
    .addOption(sharedFlags.placement)
    .addOption(sharedFlags.replicaRule)
    .addOption(sharedFlags.sourceRank)
    .addOption(
      new Option(
        '--winner <slot>',
        'by rank: the slot that has the row if several go to the same rank (default: first)',
      ).choices(winnerChoices),
    )
    .addReadingFlags()
    .addOption(sharedFlags.device)
    .addOption(sharedFlags.invalidExperts)
    .option('--out <file>', 'write the order to an .npz')
    .addOption(sharedFlags.json)
    .addHelpText('after', permuteExamples)
    .action((files: string[], flags: PermuteFlags) => permute(files, flags));

  program
    .command('receive')
    .description('compute what each rank of a group receives, from the routing of all ranks')
    .helpOption('-h, --help', 'print this help')
    .argument('[files...]', "routing, one file for each rank; '-' is standard input")
    .addOption(sharedFlags.numExperts)
    .option(
      '--ranks-per-node <count>',
      'ranks of one node, which is one RDMA rank (default: 8)',
      wholeNumber(1, limits.ranks),
    )
    .option(
      '--alignment <rows>',
      'pad the rows of each expert to a multiple of this (default: 1)',
      wholeNumber(1, limits.alignment),
    )
    .addOption(sharedFlags.placement)
    .addOption(sharedFlags.replicaRule)
    .addReadingFlags()
    .addOption(sharedFlags.device)
    .addOption(sharedFlags.invalidExperts)
    .option('--out <file>', 'write what each rank receives to an .npz')
    .addOption(sharedFlags.json)
    .addHelpText('after', receiveExamples)
    .action((files: string[], flags: ReceiveFlags) => receive(files, flags));

  program
    .command('check')
    .description('say what is wrong or odd in routing files, what it does to figures, and which flag deals with it')
    .helpOption('-h, --help', 'print this help')
    .argument('[files...]', "routing: one file or directory, or one for each rank; '-' is standard input")
    .option(
      '--num-experts <count>',
      'experts that ids may name (default: what the file says, or one more than the largest id)',
      wholeNumber(1, limits.experts),
    )
    .addReadingFlags()
    .addOption(sharedFlags.fingerprint)
    .addOption(sharedFlags.json)
    .addHelpText('after', checkExamples)
    .action((files: string[], flags: CheckFlags) => check(files, flags));

  program
    .command('place')
    .description('place experts and their replicas on ranks by EPLB, and say what that is worth')
    .helpOption('-h, --help', 'print this help')
    .argument('[files...]', "routing, or counts of experts: one file or directory, or several; '-' is standard input")
    .addOption(sharedFlags.numExperts)
    .option(
      '--num-ranks <counts>',
      'ranks that share the experts (required); several, such as 8,16,24, are compared in a table',
      oneOrSeveral(wholeNumber(1, limits.ranks)),
    )
    .option('--redundant <count>', 'slots for replicas, beside one for each expert', wholeNumber(0, limits.experts), 0)
    .option('--groups <count>', 'groups of experts, each of which stays in one node', wholeNumber(1, limits.experts), 1)
    .option(
      '--ranks-per-node <count>',
      'ranks of one node, which is one RDMA rank (default: 8)',
      wholeNumber(1, limits.ranks),
    )
    .option(
      '--window <tokens>',
      `how many tokens a batch has, for which ranks wait (default: ${defaultWindow})`,
      wholeNumber(1, 2 ** 31 - 1),
    )
    .option('--all', 'place on all tokens, and judge on the same; this flatters the plan')
    .addOption(sharedFlags.planPlacement)
    .addOption(sharedFlags.replicaRule)
    .addOption(sharedFlags.sourceRank)
    .addReadingFlags()
    .addOption(sharedFlags.invalidExperts)
    .addOption(sharedFlags.failAbove)
    .option('-o, --out <file>', 'write the plan')
    .addOption(
      new Option('--format <form>', 'with --out: the form of the plan (default: sglang)').choices(planFormatChoices),
    )
    .addOption(sharedFlags.json)
    .addHelpText('after', placeExamples)
    .action((files: string[], flags: PlaceFlags | PlaceSweepFlags) =>
      isPlaceSweep(flags) ? placeSweep(files, flags) : place(files, flags),
    );

  program
    .command('generate')
    .description("make routing like that of DeepEP's own tests, or of a workload")
    .helpOption('-h, --help', 'print this help')
    .argument('<file>', ".npy to write, with {rank} for one of each rank; '-' is standard output")
    .option('--num-tokens <count>', 'tokens in each layer', wholeNumber(0, 2 ** 31 - 1), 4096)
    .option('--num-topk <count>', 'experts that each token selects', wholeNumber(0, limits.experts), 8)
    .option('--num-experts <count>', 'experts to select from', wholeNumber(1, limits.experts), 256)
    .option('--num-groups <count>', 'groups (nodes) of experts', wholeNumber(1, limits.experts), 1)
    .option(
      '--topk-groups <count>',
      'groups that a token may select from (default: up to 4)',
      wholeNumber(1, limits.experts),
    )
    .option('--skew <exponent>', "how unequal popularity is: the exponent of Zipf's law", decimalNumber(0, 10), 0)
    .option('--empty-share <share>', 'share of slots that are -1', decimalNumber(0, 1), 0)
    .option('--seed <number>', 'seed of the random numbers', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option('--layers <count>', 'write [layers, tokens, topk]', wholeNumber(1, limits.layers))
    .addOption(new Option('--dtype <type>', 'element type').choices(generatedTypes).default('int64'))
    .addOption(new Option('--workload <name>', 'which experts are popular, instead of --skew').choices(workloadNames))
    .option('--num-hot <count>', 'k-hot, rotating, burst: hot experts (default: 8)', wholeNumber(1, limits.experts))
    .option('--hot-share <share>', 'their share of all selections (default: 0.5)', decimalNumber(0, 1))
    .option('--period <tokens>', 'rotating, burst: tokens of a period (default: 4096)', wholeNumber(1, 2 ** 31 - 1))
    .option(
      '--burst <tokens>',
      'burst: how many of them select hot experts (default: 512)',
      wholeNumber(1, 2 ** 31 - 1),
    )
    .option('--sigma <deviation>', 'log-normal: of the logarithms (default: 0.5)', decimalNumber(0, 10))
    .option('--num-ranks <count>', 'hot-rank, uneven-ranks, files of ranks: ranks', wholeNumber(1, limits.ranks))
    .option('--hot-rank <rank>', 'hot-rank: which rank is hot (default: 0)', wholeNumber(0, limits.ranks))
    .option('--max-over-mean <ratio>', 'how much the busiest rank has (default: 2)', decimalNumber(1, limits.ranks))
    .option('--duplicates <share>', 'share of slots that repeat an earlier one', decimalNumber(0, 1))
    .option('--ragged <ratio>', 'files of ranks: the most tokens, over the mean', decimalNumber(1, limits.ranks))
    .addHelpText('after', generateExamples)
    .action((file: string, flags: GenerateFlags) => generate(file, flags));

  program
    .command('doctor')
    .description('tell for every device whether it is available and chosen, and why')
    .helpOption('-h, --help', 'print this help')
    .addOption(sharedFlags.device)
    .option('--json', 'print one JSON document')
    .action((flags: DoctorFlags) => doctor(flags));

  // Commander would print failures itself. It throws them instead, and reportFailure prints them on one line.
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({ writeErr() {} });
  }
  return program;
}

endOnOutputError();
// This also catches a rejection that nobody awaits.
process.on('uncaughtException', (error) => process.exit(reportFailure(error)));
const program = createProgram();
try {
  await program.parseAsync();
} catch (error) {
  const isRefusal =
    error instanceof UsageError ||
    error instanceof RoutingError ||
    (error instanceof CommanderError && error.exitCode !== 0);
  process.exitCode = reportFailure((isRefusal && mistypedCommand(program)) || error);
}
