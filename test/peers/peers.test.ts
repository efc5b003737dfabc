/** The names in docs/permutations.md and docs/receive.md: each line of code there makes of ours what the other project computes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { assert } from 'chai';
import { getExpertPermutation, getRankPermutation, simulateDispatch } from 'dispatch-layout';
import { root } from '../support/root.ts';
import { expertOrderNames, type Names, rankOrderNames } from './peer-names.ts';
import { expertOrderVectors, rankOrderVectors } from './peer-vectors.ts';
import { receivedNames } from './received-names.ts';
import { alignment, numExperts, receivedVectors, topkIdxOfRanks } from './received-vectors.ts';
import { sharedVectors } from './shared-vectors.ts';

type Line = readonly [peer: string, name: string, code: string];

/** The text of each line in the source of a module of names. */
function linesOfModule(module: string): Line[] {
  const source = readFileSync(join(root, 'test/peers', module), 'utf8');
  let peer = '';
  return [...source.matchAll(/^ {2}'?([^'\n]+?)'?: \{$|^ {4}'?([^'\n]+?)'?: \(\w+\) =>\s+(.*),$/gm)].flatMap(
    ([, newPeer, name, code]) => {
      peer = newPeer ?? peer;
      return name === undefined ? [] : [[peer, name, code] as const];
    },
  );
}

/** The rows of the tables of a page: project, name, what to ask for, and the line. */
function linesOfPage(name: string): Line[] {
  const page = readFileSync(join(root, 'docs', name), 'utf8');
  return [...page.matchAll(/^\| ([^|]+) \| `([^`|]+)` \| (?:[^|]+ \| )?`([^|]+)` \|$/gm)].map(
    ([, peer, name, code]) => [peer, name, code],
  );
}

function allNames<Order>(names: Readonly<Record<string, Names<Order>>>): string[] {
  return Object.entries(names).flatMap(([peer, lines]) => Object.keys(lines).map((name) => `${peer}: ${name}`));
}

/** Checks that a page has the lines that are run, and no others. */
function expectPage(page: string, module: string, names: readonly string[]): void {
  const lines = linesOfModule(module);
  const found = lines.map(([peer, name]) => `${peer}: ${name}`);
  assert.deepStrictEqual(found, names, 'every line was found in the source');
  assert.deepStrictEqual(linesOfPage(page), lines);
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

  it('the pages have the lines that are run here, and no others', () => {
    expectPage('permutations.md', 'peer-names.ts', known);
    expectPage('receive.md', 'received-names.ts', allNames(receivedNames));
  });

  it('every name has a vector', () => {
    const tested = [...expertOrderVectors, ...rankOrderVectors].flatMap(({ peer, expected }) =>
      Object.keys(expected).map((name) => `${peer}: ${name}`),
    );
    assert.sameMembers(tested, known);
    const received = receivedVectors.flatMap(({ peer, expected }) =>
      Object.keys(expected).map((name) => `${peer}: ${name}`),
    );
    assert.sameMembers(received, allNames(receivedNames));
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

  describe('what a rank receives', () => {
    const { ranks } = simulateDispatch(topkIdxOfRanks, numExperts, { alignment });
    for (const { peer, rule, expected } of receivedVectors) {
      it(`${peer}: ${rule}`, () => {
        for (const [rank, { received }] of ranks.entries()) {
          const ofRank = Object.entries(expected).map(([name, values]) => [name, values[rank]]);
          expectNames(receivedNames[peer], received, Object.fromEntries(ofRank));
        }
      });
    }
  });

  describe('vectors made with the code of other projects', sharedVectors);
});
