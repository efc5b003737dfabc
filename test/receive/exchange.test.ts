/** `group.exchange`: over worker threads, one for each rank, and with engines that do something wrong. */
import { Worker } from 'node:worker_threads';
import { assert } from 'chai';
import {
  type AllToAll,
  type DispatchLayout,
  DispatchLayoutError,
  EventOverlap,
  ExpertGroup,
  type ExpertGroupOptions,
  type LayoutOptions,
  type ReceiveLayout,
  type ReceiveOptions,
  type SentCounts,
  type TopkIdxInput,
} from 'dispatch-layout';
import { detached } from '../support/buffers.ts';
import { Random } from '../support/random.ts';
import { expectReceived } from './expect-received.ts';
import { dispatchOf, type GroupQuestion } from './oracle.ts';

/** What one rank passes. */
interface Rank {
  readonly groupOptions: ExpertGroupOptions;
  readonly topkIdx: TopkIdxInput;
  readonly numExperts: number;
  readonly callOptions?: LayoutOptions;
  readonly options?: ReceiveOptions;
  /** Whether it takes no part in the exchange. */
  readonly isSilent?: boolean;
}

/** How an exchange ended on one rank. */
type Outcome =
  | { readonly received: ReceiveLayout }
  | { readonly error: { readonly name: string; readonly code?: string | undefined; readonly message: string } };

/** How the parent thread hands the pieces of all ranks to one of them. */
type Deliver = (pieces: readonly Posted[], rank: number) => Uint8Array;

/** The pieces of one rank. */
interface Posted {
  readonly bytes: Uint8Array;
  readonly bytesPerRank: number;
}

/** Each piece with the length that its sender gave it, as `MPI_Alltoallv` moves them. */
const eachLength: Deliver = (pieces, rank) =>
  Buffer.concat(
    pieces.map(({ bytes, bytesPerRank }) => bytes.subarray(rank * bytesPerRank, (rank + 1) * bytesPerRank)),
  );

/** As many bytes from each rank as this one sends, as `MPI_Alltoall` moves them. */
const sameLength: Deliver = (pieces, rank) => {
  const { bytesPerRank } = pieces[rank];
  const received = new Uint8Array(pieces.length * bytesPerRank);
  for (const [source, { bytes, bytesPerRank: length }] of pieces.entries()) {
    received.set(bytes.subarray(rank * length, rank * length + Math.min(length, bytesPerRank)), source * bytesPerRank);
  }
  return received;
};

/** Runs an exchange, each rank in a thread of its own. Returns how it ended on the ranks that are not silent. */
async function exchange(ranks: readonly Rank[], deliver = eachLength, patienceMs = 60_000): Promise<Outcome[]> {
  const posted: Posted[] = [];
  const workers = ranks.map(
    (rank) =>
      new Worker(new URL('exchange-worker.mjs', import.meta.url), {
        workerData: { patienceMs, ...rank },
        execArgv: [],
      }),
  );
  try {
    const outcomes = workers.map(
      (worker, rank) =>
        new Promise<Outcome>((resolve, reject) => {
          worker.on('error', reject);
          worker.on('message', (message: Posted | Outcome) => {
            if (!('bytes' in message)) {
              resolve(message);
              return;
            }
            posted[rank] = message;
            if (Object.keys(posted).length < ranks.length) return;
            for (const [to, other] of workers.entries()) other.postMessage(deliver(posted, to));
          });
        }),
    );
    return await Promise.all(outcomes.filter((_, rank) => !ranks[rank].isSilent));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** The ranks of a question, and what each of them must receive. */
function ranksOf(question: GroupQuestion): readonly Rank[] {
  const { rowsOfRanks, numTopk, numExperts, numRanksPerNode, placement, alignment } = question;
  const groupOptions = { numRanks: rowsOfRanks.length, numRanksPerNode, placement };
  return rowsOfRanks.map((rows) => ({
    groupOptions,
    topkIdx: { data: Int16Array.from(rows.flat()), shape: [rows.length, numTopk] },
    numExperts,
    options: { alignment },
  }));
}

async function expectExchange(question: GroupQuestion): Promise<void> {
  const outcomes = await exchange(ranksOf(question));
  for (const [rank, { sourceRankOfRow, sourceTokenOfRow, topkIdx, ...counts }] of dispatchOf(
    question,
  ).received.entries()) {
    const outcome = outcomes[rank];
    if ('error' in outcome) assert.fail(`rank ${rank}: ${outcome.error.message}`);
    expectReceived(outcome.received, { rank, ...counts });
  }
}

/** Random ids, some of them empty. Rank r has `tokensOf(r)` tokens. */
function question(
  numRanks: number,
  numExperts: number,
  tokensOf: (rank: number) => number,
  rest: Partial<GroupQuestion> = {},
) {
  const random = new Random(numRanks);
  const rowsOfRanks = Array.from({ length: numRanks }, (_, rank) =>
    Array.from({ length: tokensOf(rank) }, () => Array.from({ length: 4 }, () => random.between(-1, numExperts - 1))),
  );
  return { rowsOfRanks, numTopk: 4, numExperts, numRanksPerNode: numRanks, alignment: 1, ...rest };
}

/** The message of each rank, all of which must fail with this code. */
function messagesOf(outcomes: readonly Outcome[], code?: string): string[] {
  return outcomes.map((outcome) => {
    if ('received' in outcome) assert.fail(`rank ${outcome.received.rank} has a result`);
    assert.strictEqual(outcome.error.code, code, outcome.error.message);
    return outcome.error.message;
  });
}

describe('exchange over threads', () => {
  it('gives each rank what the oracle says: uneven and empty ranks, empty slots, duplicates', () =>
    expectExchange(question(4, 16, (rank) => [7, 0, 31, 2][rank], { alignment: 8 })));

  it('gives each rank what the oracle says: a placement with experts on no rank and a rank without experts', () =>
    expectExchange(question(3, 7, () => 5, { placement: [2, 0, -1, 2, 0, 2, -1] })));

  it('gives each rank what the oracle says: nodes, and experts by name', () =>
    expectExchange(question(6, 32, (rank) => rank, { numRanksPerNode: 2, placement: 'round_robin' })));

  it('gives each rank what the oracle says: 64 ranks', () => expectExchange(question(64, 256, (rank) => rank % 5)));

  it('lets the last experts be on no rank, if the ranks say so', async () => {
    const ranks = ranksOf(question(2, 5, () => 3)).map((rank) => ({
      ...rank,
      callOptions: { invalidExperts: 'ignore' } as const,
      options: { invalidExperts: 'ignore' } as const,
    }));
    for (const outcome of await exchange(ranks)) assert.nestedPropertyVal(outcome, 'received.numLocalExperts', 2);
  });

  describe('tells each rank who differs in what', () => {
    const ranks = ranksOf(question(4, 16, () => 3));
    const withOther = (other: Partial<Rank>): Rank[] =>
      ranks.map((rank, index) => (index === 2 ? { ...rank, ...other } : rank));
    const cases: [string, Rank[], string][] = [
      ['the number of experts', withOther({ numExperts: 32 }), 'numExperts 32 instead of 16'],
      ['the alignment', withOther({ options: { alignment: 8 } }), 'alignment 8 instead of 1'],
      [
        'the ranks of a node',
        withOther({ groupOptions: { numRanks: 4, numRanksPerNode: 2 } }),
        'numRanksPerNode 2 instead of 4',
      ],
      [
        'the placement',
        withOther({ groupOptions: { numRanks: 4, numRanksPerNode: 4, placement: 'round_robin' } }),
        'another placement of experts',
      ],
      [
        'two things',
        withOther({ numExperts: 64, options: { alignment: 2 } }),
        'numExperts 64 instead of 16 and alignment 2 instead of 1',
      ],
    ];
    for (const [title, group, difference] of cases) {
      for (const [engine, deliver] of Object.entries({ eachLength, sameLength })) {
        it(`${title} (${engine})`, async () => {
          const messages = messagesOf(await exchange(group, deliver), 'EXCHANGE');
          for (const rank of [0, 1, 3])
            assert.include(messages[rank], `this is rank ${rank}, and rank 2 has ${difference}.`);
          assert.match(messages[2], /this is rank 2, and rank 0 has .*; rank 1 has .*; rank 3 has /);
          assert.include(messages[2], 'All ranks must pass the same numExperts and alignment');
        });
      }
    }

    it('pieces of different lengths that add up to what this rank expects', async () => {
      const group = ranksOf(question(3, 3, () => 3)).map((rank, index) => ({ ...rank, numExperts: [6, 3, 9][index] }));
      const messages = messagesOf(await exchange(group), 'EXCHANGE');
      assert.include(messages[0], 'rank 1 has numExperts 3 instead of 6; rank 2 has numExperts 9 instead of 6');
      assert.include(messages[1], 'rank 0 has numExperts 6 instead of 3; rank 2 has numExperts 9 instead of 3');
      assert.include(messages[2], 'rank 0 has numExperts 6 instead of 9; rank 1 has numExperts 3 instead of 9');
    });

    it('the number of ranks', async () => {
      const group = withOther({ groupOptions: { numRanks: 2 } });
      const messages = messagesOf(await exchange(group), 'EXCHANGE');
      assert.include(messages[0], 'rank 2 has numRanks 2 instead of 4 and numRanksPerNode 8 instead of 4');
      // Rank 3 gets nothing from rank 2, which does not know of it
      assert.match(messages[3], /3 pieces, and the group has 4 ranks/);
      assert.match(messages[2], /rank 0 has numRanks 4 instead of 2/);
    });
  });

  it('rejects on every other rank if one never answers, with the error of the engine', async () => {
    const ranks = ranksOf(question(3, 6, () => 2)).map((rank, index) => ({ ...rank, isSilent: index === 1 }));
    const outcomes = await exchange(ranks, eachLength, 200);
    assert.lengthOf(outcomes, 2);
    for (const outcome of outcomes) assert.nestedPropertyVal(outcome, 'error.name', 'AbortError');
  });
});

describe('exchange', () => {
  const group = new ExpertGroup({ numRanks: 2 });
  const layout = group.getDispatchLayout([[0, 3]], 4);

  /** The pieces that a rank sends. */
  async function piecesOf(sent: SentCounts = layout): Promise<Posted> {
    let posted: Posted | undefined;
    await group
      .exchange(sent, async (bytes, bytesPerRank) => {
        posted = { bytes: bytes.slice(), bytesPerRank };
        throw new Error('enough');
      })
      .catch(() => {});
    return posted as Posted;
  }

  /** Runs an exchange with an engine, and returns the error. */
  async function errorOf(
    allToAll: AllToAll,
    sent: unknown = layout,
    options: ReceiveOptions = {},
  ): Promise<DispatchLayoutError> {
    try {
      await group.exchange(sent as DispatchLayout, allToAll, options);
    } catch (error) {
      assert.instanceOf(error, DispatchLayoutError);
      return error as DispatchLayoutError;
    }
    return assert.fail('the exchange had a result');
  }

  const neverCalled: AllToAll = () => assert.fail('allToAll was called');

  it('sends 44 bytes and 4 for each local expert to every rank', async () => {
    const { bytes, bytesPerRank } = await piecesOf();
    assert.strictEqual(bytesPerRank, 44 + 4 * 2);
    assert.lengthOf(bytes, 2 * bytesPerRank);
  });

  // Ranks may have different builds of the library: if this changes, the version must, too
  it('sends pieces of version 1 as they always were', async () => {
    const { bytes, bytesPerRank } = await piecesOf();
    const words = new DataView(bytes.buffer, bytesPerRank);
    // DLX, version, bytes, destination, ranks, ranks of a node, experts, alignment, digests, tokens, and counts
    const expected = [0xd7584c44, 1, 52, 1, 2, 8, 4, 1, 0x52bb5ca5, 0x85522504, 1, 0, 1];
    assert.deepStrictEqual(
      expected.map((_, index) => words.getUint32(index * 4, true)),
      expected,
    );
  });

  it('takes the pieces in any Uint8Array, at any offset', async () => {
    const { bytes, bytesPerRank } = await piecesOf();
    for (const offset of [0, 1, 3]) {
      const received = await group.exchange(layout, async () => {
        const both = new Uint8Array(offset + 2 * bytesPerRank).subarray(offset);
        both.set(bytes.subarray(bytesPerRank), 0);
        both.set(bytes.subarray(bytesPerRank), bytesPerRank);
        return offset === 3 ? Buffer.from(both) : both;
      });
      expectReceived(received, { rank: 1, numTokensPerSourceRank: [1, 1], numTokensPerExpert: [0, 2] });
    }
  });

  it('waits for an event of the layout, and fails with it', async () => {
    let isDone = false;
    const wait = async () => {
      isDone = true;
    };
    const handle = {
      get done() {
        return isDone;
      },
      wait,
      currentStreamWait() {},
    };
    const later = { ...layout, event: new EventOverlap(handle) };
    await piecesOf(later);
    assert.isTrue(isDone);
    const failed = {
      done: true,
      wait: () => Promise.reject(new DispatchLayoutError('CUDA_ERROR', 'lost', { remedy: '' })),
      currentStreamWait() {},
    };
    const error = await errorOf(neverCalled, { ...layout, event: new EventOverlap(failed) });
    assert.strictEqual(error.code, 'CUDA_ERROR');
  });

  it('hands on the very error with which the engine rejects', async () => {
    const lost = new Error('the network is gone');
    const caught = await group.exchange(layout, () => Promise.reject(lost)).catch((error) => error);
    assert.strictEqual(caught, lost);
  });

  it('refuses wrong arguments before it calls the engine', async () => {
    const cases: [unknown, string, RegExp][] = [
      [null, 'SENT', /layout is null/],
      [{}, 'SENT', /layout is an object/],
      [[layout], 'SENT', /layout is /],
      [{ ...layout, numTokensPerRank: [1] }, 'SENT', /layout\.numTokensPerRank has 1 elements\. It must have 2/],
      [{ ...layout, numTokensPerRank: [1, -1] }, 'SENT', /layout\.numTokensPerRank\[1\] is -1/],
      [{ ...layout, numTokensPerExpert: [1, 0, 0] }, 'UNEVEN_EXPERTS', /3 experts/],
      [{ ...layout, numTokensPerExpert: {} }, 'SENT', /layout is an object/],
      [
        { ...layout, numTokensPerExpert: detached(new Int32Array(4)) },
        'DETACHED_BUFFER',
        /layout\.numTokensPerExpert was detached/,
      ],
      [
        { ...layout, numTokensPerRank: detached(new Int32Array(2)) },
        'DETACHED_BUFFER',
        /layout\.numTokensPerRank was detached/,
      ],
    ];
    for (const [sent, code, message] of cases) {
      const error = await errorOf(neverCalled, sent);
      assert.strictEqual(error.code, code);
      assert.match(error.message, message);
    }
    assert.match((await errorOf(undefined as unknown as AllToAll)).message, /allToAll is undefined/);
    assert.match((await errorOf(neverCalled, layout, { alignment: 0 })).message, /alignment is 0/);
    assert.match((await errorOf(neverCalled, layout, { rank: 0 } as ReceiveOptions)).message, /no option 'rank'/);
  });

  it('names the first eight ranks that differ', async () => {
    const many = new ExpertGroup({ numRanks: 10, numRanksPerNode: 10 });
    const sent = many.getDispatchLayout([[0, 3]], 10);
    const error = await many
      .exchange(sent, async (bytes, bytesPerRank) => {
        const piece = bytes.slice(0, bytesPerRank);
        new DataView(piece.buffer).setUint32(7 * 4, 128, true);
        return Buffer.concat(Array.from({ length: 10 }, () => piece));
      })
      .catch((caught: unknown) => caught);
    assert.match(String(error), /rank 0 has alignment 128 instead of 1; .*rank 7 has alignment 128 instead of 1; …\./);
    assert.notMatch(String(error), /rank 8/);
  });

  it('refuses to send more than fits in memory', async () => {
    const crowded = new ExpertGroup({ numRanks: 2 ** 20, placement: new Int32Array(2 ** 20) });
    const counts = new Int32Array(2 ** 20);
    const sent = { numTokensPerRank: counts, numTokensPerExpert: counts };
    const error = await crowded.exchange(sent, neverCalled).catch((caught: unknown) => caught);
    assert.propertyVal(error, 'code', 'OUT_OF_MEMORY');
  });

  it('refuses what is not what the ranks have sent', async () => {
    const { bytes, bytesPerRank } = await piecesOf();
    const forRank1 = bytes.subarray(bytesPerRank);
    const changed = (word: number, value: number): Uint8Array => {
      const piece = forRank1.slice();
      new DataView(piece.buffer).setUint32(word * 4, value, true);
      return Buffer.concat([forRank1, piece]);
    };
    const cases: [string, unknown, RegExp][] = [
      ['nothing', undefined, /allToAll resolved to undefined/],
      ['an ArrayBuffer', bytes.buffer, /resolved to an object/],
      ['other numbers', new Int32Array(26), /resolved to an Int32Array/],
      ['no bytes', new Uint8Array(0), /0 bytes, which are 0 pieces, and the group has 2 ranks/],
      ['its own pieces', bytes, /pieces for rank 0 and for rank 1/],
      ['one piece', forRank1, /1 pieces, and the group has 2 ranks/],
      ['three pieces', Buffer.concat([forRank1, forRank1, forRank1]), /3 pieces, and the group has 2 ranks/],
      ['a part of a piece', Buffer.concat([forRank1, forRank1.subarray(0, 50)]), /only a part of the piece of rank 1/],
      ['a few bytes more', Buffer.concat([forRank1, forRank1, Buffer.alloc(3)]), /no piece of an exchange at byte 104/],
      ['zeros', new Uint8Array(2 * bytesPerRank), /no piece of an exchange at byte 0/],
      ['another version', changed(1, 7), /rank 1 has version 7 of the exchange, and this rank has 1/],
      ['a negative count', changed(10, 0xffffffff), /rank 1 has a negative one/],
      ['another length', Buffer.concat([changed(2, 48).subarray(0, bytesPerRank + 48)]), /no pieces of 52 bytes/],
      ['a length of nothing', changed(2, 0).subarray(0, 2 * bytesPerRank - 1), /only a part of the piece of rank 1/],
      ['another rank', changed(3, 0), /pieces for rank 1 and for rank 0/],
      [
        'a rank that is not there',
        Buffer.concat(Array.from({ length: 2 }, () => changed(3, 2).subarray(bytesPerRank))),
        /no pieces of 52 bytes for a rank of this group/,
      ],
    ];
    for (const [title, received, message] of cases) {
      const error = await errorOf(async () => received as Uint8Array);
      assert.strictEqual(error.code, 'EXCHANGE', title);
      assert.match(error.message, message, title);
    }
    const gone = await errorOf(async () => detached(new Uint8Array(2 * bytesPerRank)));
    assert.strictEqual(gone.code, 'DETACHED_BUFFER');
    assert.match(gone.message, /the buffer under the result of allToAll was detached/);
    const hiding = Object.defineProperty(Buffer.concat([forRank1, forRank1]), 'buffer', { value: null });
    expectReceived(await group.exchange(layout, async () => hiding), { rank: 1, numTokensPerSourceRank: [1, 1] });
    const contradicting = await errorOf(async () => changed(10, 9));
    assert.strictEqual(contradicting.code, 'SENT');
    assert.match(contradicting.message, /rank 1 sends 9 tokens to rank 1, and 1 selections/);
  });
});
