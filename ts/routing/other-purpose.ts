/**
 * Arrays of integers in containers that are no ids by their names.
 *
 * @module
 */

/** The last words of the names of arrays of integers that are no ids of experts, and what they are. */
const otherPurposes: readonly (readonly [RegExp, string])[] = [
  [/^(tokens|(input|token|token_type|prompt)_?ids|labels|targets)$/, 'tokens of text'],
  [/^codes$/, 'codes of audio or images'],
  [/^(positions|position_ids|(relative_position|cu_seqlens|seq_?lens?)\w*)$/, 'positions'],
  [/^(\w*_)?mask$/, 'a mask'],
  [/^(physical_to_logical_map|last_physical_to_logical_map|phy2log|log2phy|placement)$/, 'a placement of experts'],
  [/^((\w*_)?(counts?|loads?|workload|tokens_per_(expert|rank|rdma_rank))|logcnt)$/, 'counts'],
  [/^num_batches_tracked$/, 'a counter of batch normalization'],
];

/** What an array of integers seems to be by its name, or undefined if it can be ids. */
export function otherPurpose(name: string): string | undefined {
  const word = /(\w+)[\W\d]*$/.exec(name)?.[1] ?? '';
  return otherPurposes.find(([pattern]) => pattern.test(word))?.[1];
}

/** An array in the words of a message, with what it seems to be by its name. */
export function withPurpose(what: string, purpose: string | undefined): string {
  return purpose === undefined ? what : `${what}, by its name ${purpose}`;
}
