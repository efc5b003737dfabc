#!/usr/bin/env node
/**
 * Plants bugs in copies of the CUDA kernel, one at a time, and expects the shim to find each of them:
 * planted_bugs.mjs [--every-check]
 *
 * Every bug names the check that must find it. With `--every-check`, all checks run on every bug, and the table that is
 * printed says which of them find it: this is the table in docs/notes/cuda-kernel.md. Some bugs say why no check can
 * find them. They are left out without `--every-check`. If one is found nevertheless, the script fails, so that the
 * table stays true.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folder = join(root, 'build/cuda-shim/planted');
const kernel = [
  'dispatch_layout.h',
  'dispatch_layout.cuh',
  'id_parameters.cuh',
  'launch.cuh',
  'merge.cuh',
  'permutation.cuh',
].map((name) => `cuda/kernel/${name}`);
const betweenFiles = '\n// --- the next file\n';

/** The checks: a program that `build.sh` builds, and its arguments, which are a seed and a number of cases. */
const layoutChecks = {
  comparison: ['layout_test', '1', '400'],
  AddressSanitizer: ['layout_test_sanitize', '1', '150'],
  ThreadSanitizer: ['layout_test_tsan', '1', '40'],
};
const permutationChecks = {
  comparison: ['permutation_test', '1', '400'],
  AddressSanitizer: ['permutation_test_sanitize', '1', '150'],
  ThreadSanitizer: ['permutation_test_tsan', '1', '40'],
};

/**
 * Returns the edits that give the first invalid selection a word of its own beside that of the contributions. Fences
 * have to order the two words.
 */
function keepInvalidInSecondWord({ afterMax = '', beforeBarrier = '', beforeExchange = '' }) {
  return [
    ['unsigned long long invalid; // What lies', 'unsigned long long invalid, first; // What lies'],
    ['return sizeof(uint64_t) * (1 +', 'return sizeof(uint64_t) * (2 +'],
    [
      'raise_invalid(&p.scratch->invalid, invalid);',
      `if (invalid != 0) atomicMax(&p.scratch->first, invalid); ${afterMax}`,
    ],
    [
      '[&](unsigned long long first) { write_invalid<Id>(first); }',
      `[&](unsigned long long) {
         ${beforeExchange}
         write_invalid<Id>(atomicExch(&scratch->first, 0ull));
       }`,
    ],
    [
      'if (p.report.place != nullptr) raise_invalid(&p.scratch->invalid, own_invalid);',
      `if (p.report.place != nullptr) { atomicMax(&p.scratch->first, own_invalid); ${beforeBarrier} }`,
    ],
  ];
}

/** Returns the edit that stores vectors to rows of any alignment. There is a loop for rows of bytes, and one for bits. */
function storeUnaligned(numBytes) {
  const before = `const int num_bytes = ${numBytes}; const int num_vectors =`;
  return [
    `${before} reinterpret_cast<uintptr_t>(rows) % sizeof(uint4) == 0 ? num_bytes / 16 : 0;`,
    `${before} num_bytes / 16;`,
  ];
}

/**
 * The bugs. `edits` are texts of the kernels, and what replaces them; a third element says how often the text occurs, if
 * it is not once. White space is compared loosely. Each bug has one of these:
 * - `foundBy`: the check that must find it
 * - `outOfReach`: why no check finds it
 * - `correct`: why the change is no bug at all. No check may report it
 */
const layoutBugs = [
  // The merge of blocks
  {
    name: 'the last contribution but one counts as the last',
    edits: [['merged >> kResultBits != gridDim.x)', 'merged >> kResultBits != gridDim.x - 1)']],
    foundBy: 'comparison',
  },
  {
    name: 'the last block leaves the result in the scratch memory',
    edits: [['write(merged & kMaxResult); atomicExch(word, 0ull);', 'write(merged & kMaxResult);']],
    foundBy: 'comparison',
  },
  {
    name: 'every block clears the scratch memory',
    edits: [
      [
        'if (merged >> kResultBits != gridDim.x) return; write(merged & kMaxResult); atomicExch(word, 0ull);',
        'atomicExch(word, 0ull); if (merged >> kResultBits == gridDim.x) write(merged & kMaxResult);',
      ],
    ],
    foundBy: 'comparison',
  },
  {
    name: 'blocks contribute without atomic operations',
    edits: [['atomicAdd(word, own) + own;', '*word += own;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'counts above 2^31 - 1 are added up as negative numbers',
    edits: [['counts == nullptr ? 0 : static_cast<uint32_t>(counts[i])', 'counts == nullptr ? 0 : counts[i]']],
    outOfReach: 'it takes a block with so many selections of one expert',
  },
  {
    name: 'a block contributes before it raises the first invalid selection',
    edits: [
      [
        'raise_invalid(&p.scratch->invalid, invalid); p.template merge_invalid<Id>();',
        'p.template merge_invalid<Id>(); raise_invalid(&p.scratch->invalid, invalid);',
      ],
    ],
    foundBy: 'comparison',
  },
  {
    name: 'a raised first invalid selection hides the contributions',
    edits: [['(expected & ~kMaxResult) | invalid', 'invalid']],
    foundBy: 'comparison',
  },
  {
    name: 'the first invalid selection is raised at the first try or not at all',
    edits: [['while ((known & kMaxResult) < invalid) {', 'if ((known & kMaxResult) < invalid) {']],
    foundBy: 'comparison',
  },
  {
    name: 'the first invalid selection is raised at the second try or not at all',
    edits: [['if (known == expected) return;', 'if (known == expected || expected != 0) return;']],
    foundBy: 'comparison',
  },
  {
    name: 'a later invalid selection replaces an earlier one',
    edits: [['while ((known & kMaxResult) < invalid) {', 'while (invalid != 0) {']],
    foundBy: 'comparison',
  },
  {
    name: 'the first invalid selection is raised without atomic operations',
    edits: [
      ['known = atomicCAS(word, expected, (expected & ~kMaxResult) | invalid);', 'known = *word;'],
      [
        'if (known == expected) return;',
        'if (known == expected) { *word = (expected & ~kMaxResult) | invalid; return; }',
      ],
    ],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the first invalid selection is in a second word, and nothing orders the two words',
    edits: keepInvalidInSecondWord({}),
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the first invalid selection is in a second word, and whoever reads it makes no fence',
    edits: keepInvalidInSecondWord({ afterMax: '__threadfence();' }),
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the first invalid selection is in a second word, and whoever changes it makes no fence',
    edits: keepInvalidInSecondWord({ beforeExchange: '__threadfence();' }),
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'in the slower kernel, the barrier before the merge is missing',
    edits: [['__syncthreads(); merge_blocks<Id>(p, nullptr, 0);', 'merge_blocks<Id>(p, nullptr, 0);']],
    foundBy: 'comparison',
  },
  {
    name: 'in the slower kernel, only the first thread reaches the barrier before the merge',
    edits: [
      [
        '__syncthreads(); merge_blocks<Id>(p, nullptr',
        'if (threadIdx.x == 0) __syncthreads(); merge_blocks<Id>(p, nullptr',
      ],
    ],
    foundBy: 'comparison',
  },
  {
    name: 'in the slower kernel, experts are counted without atomic operations',
    edits: [['atomicAdd(&expert_counts[id], 1ull);', 'expert_counts[id] += 1;']],
    foundBy: 'ThreadSanitizer',
  },

  // Synchronisation within a block
  {
    name: 'the barrier after the tables are made is missing',
    edits: [['__syncthreads(); unsigned long long own_invalid = 0;', 'unsigned long long own_invalid = 0;']],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier before the merge is missing',
    edits: [['// Merge the results of all blocks\n __syncthreads();', '']],
    foundBy: 'comparison',
  },
  {
    name: '__syncwarp after the masks are cleared is missing',
    edits: [['rank_bits[i] = 0; __syncwarp();', 'rank_bits[i] = 0;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: '__syncwarp after the masks are stored is missing',
    edits: [['lane_idx); __syncwarp(); // Count tokens per rank', 'lane_idx); // Count tokens per rank']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: '__syncwarp at the end of a tile is missing',
    edits: [['>> (i % 32) & 1; } __syncwarp();', '>> (i % 32) & 1; }']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'experts are counted without atomic operations',
    edits: [['atomicAdd(&expert_counts[experts[i]], 1);', 'expert_counts[experts[i]] += 1;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'columns are counted without atomic operations',
    edits: [['atomicAdd(&counts[lane_idx], __popc(column));', 'counts[lane_idx] += __popc(column);']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'masks are stored without atomic operations',
    edits: [['atomicOr(&tile_bits[begin_bit / 32 + i], shifted[i]);', 'tile_bits[begin_bit / 32 + i] |= shifted[i];']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the first invalid id of a thread overwrites that of the block',
    edits: [['atomicMax(invalid, own_invalid);', '*invalid = own_invalid;']],
    foundBy: 'comparison',
  },

  // Bounds, alignment and sizes
  {
    name: 'vectors are stored to rows of bytes that are not aligned',
    edits: [storeUnaligned('num_rows * p.num_ranks')],
    foundBy: 'AddressSanitizer',
  },
  {
    name: 'vectors are stored to rows of bits that are not aligned',
    edits: [storeUnaligned('num_rows * row_bytes')],
    foundBy: 'AddressSanitizer',
  },
  {
    name: 'rows of bits do not begin with a byte of their own',
    edits: [['return !kIsPlain && has_bit_rows ? (num_ranks + 7) / 8 * 8 : num_ranks;', 'return num_ranks;']],
    foundBy: 'comparison',
  },
  {
    name: 'the last byte of a row of bits is not cleared, where ranks are counted in the scratch memory',
    edits: [['i < row_bytes; ++i) row[i] = 0;', 'i < row_bytes - 1; ++i) row[i] = 0;']],
    foundBy: 'comparison',
  },
  {
    name: 'pieces are loaded from rows that the stride does not align',
    edits: [['static_cast<uintptr_t>(p.token_stride_in_bytes) |', '']],
    foundBy: 'comparison',
  },
  {
    name: 'ids behind the last token are loaded',
    edits: [['token_idx < p.num_tokens && begin_slot + i', 'begin_slot + i']],
    foundBy: 'AddressSanitizer',
  },
  {
    name: 'lanes without a token count experts',
    edits: [['const bool has_id = has_token && begin_slot', 'const bool has_id = begin_slot']],
    foundBy: 'comparison',
  },
  {
    name: 'the word behind the bits is read',
    edits: [['shift + count > 32 ? bits[begin / 32 + 1] : 0', 'bits[begin / 32 + 1]']],
    foundBy: 'AddressSanitizer',
  },
  {
    name: 'one word too few of shared memory',
    edits: [['p.num_counts() + 2 +', 'p.num_counts() + 1 +']],
    foundBy: 'comparison',
  },
  {
    name: 'the entry of the table for ids that are no experts is not written',
    edits: [['i <= p.num_experts; i += blockDim.x', 'i < p.num_experts; i += blockDim.x']],
    foundBy: 'comparison',
  },
  {
    name: 'the id after the last expert is taken for an expert',
    edits: [['return id < id_end;', 'return id <= id_end;']],
    foundBy: 'comparison',
  },
  {
    name: 'an empty id that is not -1 is invalid',
    edits: [['& (id != static_cast<Id>(empty_id))', '']],
    foundBy: 'comparison',
  },
  {
    name: 'an expert whose id is the empty id gets tokens',
    edits: [['if (expert_idx == empty_expert) return -1;', '']],
    foundBy: 'comparison',
  },
  {
    name: 'sums have 16 bits',
    edits: [['static_cast<int32_t>(sum)', 'static_cast<int16_t>(sum)']],
    foundBy: 'comparison',
  },
  {
    name: 'the numbers of invalid selections may have more than 48 bits',
    edits: [['> kMaxResult >> p->num_slot_bits', '> kMaxResult']],
    foundBy: 'comparison',
  },
  {
    name: 'in the slower kernel, a node includes the first rank of the next one',
    edits: [['earlier < begin_rank + p.num_ranks_per_node', 'earlier <= begin_rank + p.num_ranks_per_node']],
    foundBy: 'comparison',
  },
  {
    name: 'offsets in the mask have 32 bits',
    edits: [
      [
        'p.is_token_in_rank + tile_token * p.num_ranks',
        'p.is_token_in_rank + static_cast<int>(tile_token * p.num_ranks)',
      ],
    ],
    outOfReach: 'it takes a mask of more than 2^31 bytes. `layout_test large` finds it on a GPU',
  },
  {
    name: 'the limit of shared memory is not raised',
    edits: [['if (plan.shared_bytes > 48 * 1024)', 'if (plan.shared_bytes > 480 * 1024)']],
    outOfReach: 'the shim does not ask for that. On a GPU every test with large tables finds it',
  },

  // What must not be reported
  {
    name: 'the first invalid selection is in a second word, and fences order the two words',
    edits: keepInvalidInSecondWord({ afterMax: '__threadfence();', beforeExchange: '__threadfence();' }),
    correct: 'the fences also hold for what came before them by a barrier',
  },
  {
    name: 'the same, but each thread of the slower kernel makes its fence before the barrier',
    edits: keepInvalidInSecondWord({
      afterMax: 'if (counts != nullptr) __threadfence();',
      beforeBarrier: '__threadfence();',
      beforeExchange: '__threadfence();',
    }),
    correct: 'whoever contributes after the barrier does so for all threads of the block',
  },
  {
    name: 'the last block clears the scratch memory by an addition',
    edits: [['atomicExch(word, 0ull);', 'atomicAdd(word, 0 - merged);']],
    correct: 'the changes of one location have an order, even without fences',
  },
];

const permutationBugs = [
  // Which selections have a key
  {
    name: 'a selection is compared with those of other tokens',
    edits: [['const unsigned preferred_lanes = lanes_of_token &', 'const unsigned preferred_lanes =']],
    foundBy: 'comparison',
  },
  {
    name: 'the first selection wins, whatever is asked for',
    edits: [['(p.does_last_win ? higher_lanes : lower_lanes)', 'lower_lanes']],
    foundBy: 'comparison',
  },
  {
    name: 'of more slots than a warp has lanes, the first ones always come first',
    edits: [['(p.does_last_win ? num_groups_per_token - 1 - group_idx : group_idx)', 'group_idx']],
    foundBy: 'comparison',
  },
  {
    name: 'of more slots than a warp has lanes, only those of the same group are compared',
    edits: [['if (!is_token_in_group && has_id[i])', 'if (false)']],
    foundBy: 'comparison',
  },
  {
    name: 'the __syncwarp between the groups of a token is missing',
    edits: [['lanes have written __syncwarp();', 'lanes have written']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'lanes behind the last whole token have selections',
    edits: [['has_id[i] = has_token && token_idx < end', 'has_id[i] = token_idx < end']],
    foundBy: 'comparison',
  },
  {
    name: 'a block reads the ids of the next one',
    edits: [['has_id[i] = has_token && token_idx < end', 'has_id[i] = has_token && token_idx < p.num_tokens']],
    foundBy: 'comparison',
  },
  {
    name: 'the expert behind the last local one has a key',
    edits: [['local_idx >= 0 && local_idx < num_keys', 'local_idx >= 0 && local_idx <= num_keys']],
    foundBy: 'comparison',
  },
  {
    name: 'an expert whose id is the empty id has rows',
    edits: [['return expert_idx != empty_expert && local_idx', 'return local_idx']],
    foundBy: 'comparison',
  },
  {
    name: 'a thread reports the invalid selection that it has found first',
    edits: [
      [
        'own_invalid = max(own_invalid, p.number_invalid(token_idx, slot));',
        'if (own_invalid == 0) own_invalid = p.number_invalid(token_idx, slot);',
      ],
    ],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier after the keys are found is missing',
    edits: [['counts); __syncthreads(); if (is_lone) {', 'counts); if (is_lone) {']],
    foundBy: 'comparison',
  },

  // Counts, sums and offsets
  {
    name: 'the keys of a block are counted without atomic operations',
    edits: [['atomicAdd(&counts[key], 1);', 'counts[key] += 1;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the keys of a warp are counted without atomic operations',
    edits: [['atomicAdd(&counts[keys[i]], 1);', 'counts[keys[i]] += 1;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the barrier after the counts of a block are cleared is missing',
    edits: [['counts[key] = 0; __syncthreads();', 'counts[key] = 0;']],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier after the tables are cleared is missing',
    edits: [['tables.cursors[i] = 0; __syncthreads();', 'tables.cursors[i] = 0;']],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier after the keys of warps are counted is missing',
    edits: [['atomicAdd(&counts[keys[i]], 1); } __syncthreads();', 'atomicAdd(&counts[keys[i]], 1); }']],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier before the totals are summed up is missing',
    edits: [['__syncthreads(); const int32_t num_rows = sum_totals', 'const int32_t num_rows = sum_totals']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the barrier after the sums of warps are written is missing',
    edits: [['warp_sums[warp_idx] = sum; __syncthreads();', 'warp_sums[warp_idx] = sum;']],
    foundBy: 'comparison',
  },
  {
    name: 'the barrier after the offsets are written is missing',
    edits: [['__syncthreads(); return num_rows;', 'return num_rows;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'threads that share the blocks of a key add their sums without atomic operations',
    edits: [['atomicAdd(&tables.totals[key], total);', 'tables.totals[key] += total;']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the counts of a block count as those before it',
    edits: [['if (block_idx < static_cast<int>(blockIdx.x))', 'if (block_idx <= static_cast<int>(blockIdx.x))']],
    foundBy: 'comparison',
  },
  {
    name: 'the counts of a warp count as those before it',
    edits: [['tables.cursors + (warp_idx + 1) * num_keys;', 'tables.cursors + warp_idx * num_keys;']],
    foundBy: 'comparison',
  },
  {
    name: 'the first row of a key is behind the first row of the same thread',
    edits: [['int32_t offset = sum - own_sum,', 'int32_t offset = sum,']],
    foundBy: 'comparison',
  },
  {
    name: 'blocks share tables in the scratch memory',
    edits: [['gridDim.x + blockIdx.x * num_table_lists', 'gridDim.x']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'the scratch memory has one list too few for blocks with tables there',
    edits: [['return 1 + (fits_in_shared_memory', 'return (fits_in_shared_memory']],
    foundBy: 'comparison',
  },
  {
    name: 'one word too few of shared memory',
    edits: [['(kMaxWarps + num_lists * p.num_keys)', '(kMaxWarps - 1 + num_lists * p.num_keys)']],
    foundBy: 'comparison',
  },

  // Rows
  {
    name: 'selections of the same key are placed in reverse order',
    edits: [['__popc(lanes & lower_lanes)', '__popc(lanes & higher_lanes)']],
    foundBy: 'comparison',
  },
  {
    name: 'a cursor is moved on before all lanes have read it',
    edits: [['have read it __syncwarp();', 'have read it']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'a cursor is read before it is moved on',
    edits: [['cursors[key] += __popc(lanes); __syncwarp();', 'cursors[key] += __popc(lanes);']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'every lane moves its cursor on',
    edits: [['if (key >= 0 && (lanes & higher_lanes) == 0) cursors', 'if (key >= 0) cursors']],
    foundBy: 'ThreadSanitizer',
  },
  {
    name: 'a warp leaves out its last selection',
    edits: [['keys[i] = selection < end ?', 'keys[i] = selection < end - 1 ?']],
    foundBy: 'comparison',
  },
  {
    name: 'the last row of the padding is not written',
    edits: [['i < num_padded; i += kLanes', 'i < num_padded - 1; i += kLanes']],
    foundBy: 'comparison',
  },
  {
    name: 'rows behind the last one are not written',
    edits: [['for (int64_t row = num_rows + thread_idx;', 'for (int64_t row = p.max_rows;']],
    foundBy: 'comparison',
  },
  {
    name: 'all blocks write the rows behind the last one that the first block should write',
    edits: [['thread_idx = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;', 'thread_idx = threadIdx.x;']],
    foundBy: 'comparison',
  },

  // What must not be reported
  {
    name: 'the first lane of each key moves its cursor on, instead of the last',
    edits: [['(lanes & higher_lanes) == 0) cursors', '(lanes & lower_lanes) == 0) cursors']],
    correct: 'it does not matter which lane does it',
  },
];

const source = kernel.map((file) => readFileSync(join(root, file), 'utf8')).join(betweenFiles);

/** Returns the files of the kernel with the edits, of which each text must occur exactly as often as it says. */
function plant({ name, edits }) {
  const planted = edits.reduce((text, [old, replacement, times = 1]) => {
    const words = old.split(/\s+/).map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
    const pattern = new RegExp(words.join('\\s+'), 'g');
    const found = text.match(pattern)?.length ?? 0;
    if (found !== times)
      throw new Error(
        `The bug '${name}' replaces a text that should occur ${times} times in the kernel, but occurs ${found} times. ` +
          `Adapt the bug to the kernel. The text is: ${old}`,
      );
    return text.replace(pattern, () => replacement);
  }, source);
  return planted.split(betweenFiles);
}

// Without optimisation, the programs are compiled in a third of the time, and that is most of the time here.
const env = { ...process.env, CXXFLAGS: '-O0' };

/** Runs a program and returns how it ended, and all that it printed. */
function run(program, settings) {
  return new Promise((resolve) => {
    execFile(program, settings, { env, timeout: 300_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ error, printed: stdout + stderr });
    });
  });
}

/** Returns the line with which a check says what it has found, or null if it has found nothing. */
async function findBug(subfolder, [program, ...settings]) {
  const built = await run(join(subfolder, 'test/cuda-shim/build.sh'), [program]);
  if (built.error !== null) throw new Error(`${subfolder} does not compile:\n${built.printed}`);
  const { error, printed } = await run(join(subfolder, 'build/cuda-shim', program), settings);
  if (error === null) return null;
  if (error.killed) throw new Error(`${program} in ${subfolder} did not end:\n${printed}`);
  const line = printed.split('\n').find((line) => /^FAILED|^cuda shim|^SUMMARY|runtime error:/.test(line));
  return (
    line?.replace(/: seed .*/, '').replace(/^.*(?=runtime error:)/, '') ?? error.signal ?? `exit status ${error.code}`
  );
}

/** Plants a bug, runs its checks, prints a row of the table, and returns the checks that have found it. */
async function examine(bug, index) {
  const subfolder = join(folder, String(index));
  for (const copied of ['cuda/kernel', 'test/cuda-shim']) {
    mkdirSync(join(subfolder, copied), { recursive: true });
    cpSync(join(root, copied), join(subfolder, copied), { recursive: true });
  }
  for (const [i, text] of plant(bug).entries()) writeFileSync(join(subfolder, kernel[i]), text);
  const found = [];
  let firstLine = '';
  const { checks } = bug;
  for (const check of bug.foundBy === undefined || withEveryCheck ? Object.keys(checks) : [bug.foundBy]) {
    const line = await findBug(subfolder, checks[check]);
    if (line === null) continue;
    found.push(check);
    firstLine ||= line;
  }
  console.log(
    `| ${bug.name} | ${found.join(', ') || '–'} | ${firstLine || bug.outOfReach || bug.correct || 'missed'} |`,
  );
  return found;
}

/** Returns what is wrong with the checks that have found a bug, or null. */
function complain(bug, found) {
  if (bug.foundBy !== undefined)
    return found.includes(bug.foundBy) ? null : `${bug.foundBy} must find this bug, and does not: ${bug.name}`;
  if (found.length === 0) return null;
  return bug.outOfReach !== undefined
    ? `This bug is said to be out of reach, but ${found[0]} finds it. Update the table: ${bug.name}`
    : `This change is correct, but ${found[0]} reports it: ${bug.name}`;
}

/** Calls `work` for all items, two at a time, and returns the results in the order of the items. */
async function mapInPairs(items, work) {
  const results = [];
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      results[index] = await work(items[index], index);
    }
  };
  await Promise.all([worker(), worker()]);
  return results;
}

const withEveryCheck = process.argv.includes('--every-check');
rmSync(folder, { recursive: true, force: true });
const unchanged = { name: 'nothing is changed', edits: [], correct: 'these are the kernels themselves' };
const allChanges = [
  ...[unchanged, ...layoutBugs].map((bug) => ({ ...bug, checks: layoutChecks })),
  ...permutationBugs.map((bug) => ({ ...bug, checks: permutationChecks })),
];
// Texts that are not in the kernel are noticed before anything is compiled.
for (const change of allChanges) plant(change);
// The kernels themselves are what the other tests check
const changes = allChanges.filter(
  (change) => withEveryCheck || (change.outOfReach === undefined && change.edits.length > 0),
);
const complaints = (await mapInPairs(changes, examine)).map((found, index) => complain(changes[index], found));
for (const complaint of complaints) if (complaint !== null) console.error(complaint);
const numMissed = changes.filter((bug, index) => bug.foundBy !== undefined && complaints[index] !== null).length;
const numOutOfReach = allChanges.filter((bug) => bug.outOfReach !== undefined).length;
const numFound = changes.filter((bug) => bug.foundBy !== undefined).length - numMissed;
console.log(`${numFound} found, ${numOutOfReach} out of reach, ${numMissed} missed`);
if (complaints.some((complaint) => complaint !== null)) process.exitCode = 1;
