/** The names in docs/permutations.md: each line of code there makes of our orders what the other project computes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from 'chai';
import { getExpertPermutation, getRankPermutation } from 'dispatch-layout';
import { root } from '../support/root.ts';
import { expertOrderNames, type Names, rankOrderNames } from './peer-names.ts';
import { expertOrderVectors, rankOrderVectors } from './peer-vectors.ts';
import { sharedVectors } from './shared-vectors.ts';

type Line = readonly [peer: string, name: string, code: string];

/** The text of each line in the source of `peer-names.ts`. */
function linesOfModule(): Line[] {
  const source = readFileSync(join(root, 'test/peers/peer-names.ts'), 'utf8');
  let peer = '';
  return [...source.matchAll(/^ {2}'?([^'\n]+?)'?: \{$|^ {4}(\w+): \(order\) =>\s+(.*),$/gm)].flatMap(
    ([, newPeer, name, code]) => {
      peer = newPeer ?? peer;
      return name === undefined ? [] : [[peer, name, code] as const];
    },
  );
}

/** The rows of the tables of the page: project, name, what to ask for, and the line. */
function linesOfPage(): Line[] {
  const page = readFileSync(join(root, 'docs/permutations.md'), 'utf8');
  return [...page.matchAll(/^\| ([^|]+) \| `(\w+)` \| [^|]+ \| `([^|]+)` \|$/gm)].map(([, peer, name, code]) => [
    peer,
    name,
    code,
  ]);
}

function allNames<Order>(names: Readonly<Record<string, Names<Order>>>): string[] {
  return Object.entries(names).flatMap(([peer, lines]) => Object.keys(lines).map((name) => `${peer}: ${name}`));
}

/** Runs the lines of a vector's names. */
function expectNames<Order>(names: Names<Order>, order: Order, expected: (typeof expertOrderVectors)[0]['expected']) {
  for (const [name, value] of Object.entries(expected)) {
    const ours = names[name](order);
    assert.deepStrictEqual(typeof ours === 'number' ? ours : Array.from(ours), value, name);
  }
}

describe('names of other projects', () => {
  const known = [...allNames(expertOrderNames), ...allNames(rankOrderNames)];

  it('the page has the lines that are run here, and no others', () => {
    const lines = linesOfModule();
    assert.deepStrictEqual(
      lines.map(([peer, name]) => `${peer}: ${name}`),
      known,
      'every line was found in the source',
    );
    assert.deepStrictEqual(linesOfPage(), lines);
  });

  it('every name has a vector', () => {
    const tested = [...expertOrderVectors, ...rankOrderVectors].flatMap(({ peer, expected }) =>
      Object.keys(expected).map((name) => `${peer}: ${name}`),
    );
    assert.sameMembers(tested, known);
  });

  describe('by expert', () => {
    for (const { peer, rule, topkIdx, numExperts, options, expected } of expertOrderVectors) {
      it(`${peer}: ${rule}`, () => {
        expectNames(expertOrderNames[peer], getExpertPermutation(topkIdx, numExperts, options), expected);
      });
    }
  });

  describe('by rank', () => {
    for (const { peer, rule, topkIdx, numExperts, numRanks, winner, expected } of rankOrderVectors) {
      it(`${peer}: ${rule}`, () => {
        expectNames(rankOrderNames[peer], getRankPermutation(topkIdx, numExperts, { numRanks, winner }), expected);
      });
    }
  });

  describe('vectors made with the code of other projects', sharedVectors);
});
