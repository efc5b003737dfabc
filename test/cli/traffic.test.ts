/** What ranks and nodes send to each other: of layouts and of several numbers of ranks, against the oracle of dispatches. */
import { assert } from 'chai';
import { dispatchOf } from '../receive/oracle.ts';
import { Random } from '../support/random.ts';
import { succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

interface JsonTraffic {
  readonly source: string;
  readonly numTokensBetweenRanks: number[][];
  readonly numTokensBetweenNodes: number[][] | null;
  readonly bytesBetweenRanks?: number[][];
  readonly bytesBetweenNodes?: number[][] | null;
}

/** `[layers][tokens][topk]` */
type Layers = readonly (readonly (readonly number[])[])[];

const [numExperts, numTopk, numRanksPerNode] = [12, 3, 2];

function sumOfTables(tables: readonly number[][][]): number[][] {
  return tables[0].map((row, source) =>
    row.map((_, destination) => tables.reduce((sum, table) => sum + table[source][destination], 0)),
  );
}

/** What the oracle of dispatches counts, over all layers, where each rank sends the tokens of one entry. */
function expected(ofRanks: readonly Layers[]): { ranks: number[][]; nodes: number[][] } {
  const layers = ofRanks[0].map((_, layer) =>
    dispatchOf({
      rowsOfRanks: ofRanks.map((rank) => rank[layer]),
      numTopk,
      numExperts,
      numRanksPerNode,
      alignment: 1,
    }),
  );
  const square = (flat: readonly number[]): number[][] => {
    const size = Math.sqrt(flat.length);
    return Array.from({ length: size }, (_, row) => flat.slice(row * size, (row + 1) * size));
  };
  return {
    ranks: sumOfTables(layers.map(({ numTokensBetweenRanks }) => square([...numTokensBetweenRanks]))),
    nodes: sumOfTables(layers.map(({ numTokensBetweenNodes }) => square([...numTokensBetweenNodes]))),
  };
}

function checkClose(actual: number[][] | null | undefined, table: number[][]): void {
  assert.lengthOf(actual ?? [], table.length);
  for (const [source, row] of table.entries()) {
    for (const [destination, count] of row.entries()) {
      assert.closeTo(actual?.[source][destination] ?? -1, count, 1e-6 * Math.max(1, count), `${source} ${destination}`);
    }
  }
}

describe('traffic', () => {
  const folder = temporaryFolder();
  const random = new Random(77);
  const row = (): number[] => Array.from({ length: numTopk }, () => random.between(-1, numExperts - 1));
  /** Ranks have different numbers of tokens, and rank 2 none. */
  const ofRanks: Layers[] = [20, 7, 0, 31].map((numTokens) => [0, 1].map(() => Array.from({ length: numTokens }, row)));
  const flags = ['--num-experts', String(numExperts), '--ranks-per-node', '2', '--json'];
  const axes = ['--axes', 'layers,tokens,topk'];
  let files: string[] = [];
  before(() => {
    files = ofRanks.map((layers, rank) => {
      const shape = [2, layers[0].length, numTopk];
      return folder.write(`rank${rank}.npy`, writeNpy(layers.flat(2).map(BigInt), shape, { ...plainForm, size: 4 }));
    });
  });

  it('is that of the dispatch, where there is a file for each rank', async () => {
    const { ranks, nodes } = expected(ofRanks);
    const size = ['--hidden-size', '1000', '--bytes-per-element', '1.5'];
    const report = JSON.parse(await succeed([...files, ...flags, ...axes, ...size, '--num-ranks', '4']));
    const traffic: JsonTraffic = report.traffic;
    assert.strictEqual(traffic.source, 'files');
    assert.deepStrictEqual(traffic.numTokensBetweenRanks, ranks);
    assert.deepStrictEqual(traffic.numTokensBetweenNodes, nodes);
    checkClose(
      traffic.bytesBetweenRanks,
      ranks.map((each) => each.map((count) => count * 1500)),
    );
    checkClose(
      traffic.bytesBetweenNodes,
      nodes.map((each) => each.map((count) => count * 1500)),
    );
    const received = JSON.parse(await succeed(['receive', ...files, ...flags, ...axes]));
    assert.deepStrictEqual(traffic.numTokensBetweenRanks, received.total.numTokensBetweenRanks);

    const { sweep } = JSON.parse(await succeed([...files, ...flags, ...axes, '--num-ranks', '4,2']));
    assert.deepStrictEqual(sweep[0].traffic, {
      source: 'files',
      numTokensBetweenRanks: ranks,
      numTokensBetweenNodes: nodes,
    });
    assert.strictEqual(sweep[0].numTokensBetweenNodes, nodes[0][1] + nodes[1][0]);
    assert.strictEqual(sweep[1].traffic.source, 'even');
    assert.isNull(sweep[1].traffic.numTokensBetweenNodes);
  });

  it('is that of the ranks that files name, also if it is one', async () => {
    const trace = (rank: number): string => {
      const lines = ofRanks[rank].map((rows, layer) =>
        JSON.stringify({
          ...{ step: 0, stage: 0, block: 0, layer, rank, num_tokens: rows.length, topk: numTopk },
          top_indices: rows.map((ids) => ids.map((id) => Math.max(0, id))),
        }),
      );
      return folder.write(`router_trace_rank${rank}.jsonl`, `${lines.join('\n')}\n`);
    };
    const positive = ofRanks.map((layers) => layers.map((rows) => rows.map((ids) => ids.map((id) => Math.max(0, id)))));
    const none = [[], []];
    for (const named of [[3, 1], [3]]) {
      const { ranks, nodes } = expected(positive.map((layers, rank) => (named.includes(rank) ? layers : none)));
      const { traffic } = JSON.parse(await succeed([...named.map(trace), ...flags, '--num-ranks', '4']));
      assert.deepStrictEqual(traffic, { source: 'files', numTokensBetweenRanks: ranks, numTokensBetweenNodes: nodes });
    }
    const { traffic } = JSON.parse(await succeed([trace(3), ...flags, '--num-ranks', '2']));
    assert.strictEqual(traffic.source, 'even');
  });

  it('deals tokens out evenly where nothing says who sends them', async () => {
    const { ranks, nodes } = expected(ofRanks);
    const columns = (table: number[][]): number[] =>
      table[0].map((_, column) => table.reduce((sum, each) => sum + each[column], 0) / table.length);
    const whole = [0, 1].map((layer) => ofRanks.flatMap((layers) => layers[layer]));
    const ids = whole.flat(2).map(BigInt);
    const file = folder.write('whole.npy', writeNpy(ids, [2, whole[0].length, numTopk], { ...plainForm, size: 4 }));
    const { traffic, total } = JSON.parse(await succeed([file, ...flags, ...axes, '--num-ranks', '4']));
    assert.strictEqual(traffic.source, 'even');
    checkClose(
      traffic.numTokensBetweenRanks,
      ranks.map(() => columns(ranks)),
    );
    const ofNodes = total.numTokensPerRdmaRank.map((count: number) => count / nodes.length);
    checkClose(
      traffic.numTokensBetweenNodes,
      nodes.map(() => ofNodes),
    );
    const text = await succeed([
      ...[file, '--num-experts', '12', '--ranks-per-node', '2', '--num-ranks', '4', ...axes],
      ...['--hidden-size', '1000000', '--bytes-per-element', '1'],
    ]);
    const others = total.numTokensPerRank.reduce((sum: number, count: number) => sum + count, 0) * (3 / 4);
    const megabytes = [others, total.numTokensPerRdmaRank[0] / 2 + total.numTokensPerRdmaRank[1] / 2].map(Math.round);
    assert.include(
      text,
      `  ${megabytes[0]} MB go from a rank to another one\n  and ${megabytes[1]} MB from a node to another one\n`,
    );
    const many = JSON.parse(await succeed(['-', '--num-experts', '1024', '--num-ranks', '1024', '--json'], '[[0, 1]]'));
    assert.isNull(many.traffic);
  });
});
