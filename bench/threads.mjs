/**
 * What `threads` and `asyncFinish` are worth here: medians of interleaved rounds, ids and `out` in shared memory.
 * `node bench/threads.mjs [threads]`, after `./build.sh`.
 */
import { ExpertGroup } from 'dispatch-layout';

const numTopk = 8;
const numExperts = 256;
const threads = Number(process.argv[2] ?? 2);

const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const inShared = (View, length) => new View(new SharedArrayBuffer(length * View.BYTES_PER_ELEMENT));

function request(numTokens, numRanks) {
  const data = inShared(BigInt64Array, numTokens * numTopk);
  for (let i = 0; i < data.length; i++) data[i] = BigInt(Math.floor(Math.random() * numExperts));
  const out = {
    numTokensPerRank: new Int32Array(numRanks),
    numTokensPerRdmaRank: numRanks > 8 ? new Int32Array(numRanks / 8) : null,
    numTokensPerExpert: new Int32Array(numExperts),
    isTokenInRank: inShared(Uint8Array, numTokens * numRanks),
  };
  return { topkIdx: { data, shape: [numTokens, numTopk] }, out };
}

/** Medians of the functions in microseconds, in turns of `inARow` calls after a pause. */
async function compare(functions, inARow, pause, numRounds) {
  const times = functions.map(() => []);
  for (let round = 0; round < numRounds; round++) {
    for (const [index, run] of functions.entries()) {
      if (pause > 0) await sleep(pause);
      for (let call = 0; call < inARow; call++) {
        const start = performance.now();
        run();
        if (call > 0 || inARow === 1) times[index].push((performance.now() - start) * 1000);
      }
    }
  }
  return times.map(median);
}

console.log(`threads: ${threads}, Node.js ${process.version}\n`);
console.log('tokens, ranks | 1 thread µs | awake µs | ratio | asleep: 1 thread µs | asleep µs | ratio');
for (const numRanks of [8, 64]) {
  for (const numTokens of [2048, 4096, 8192, 16384, 65536, 1_000_000]) {
    const { topkIdx, out } = request(numTokens, numRanks);
    const groups = [1, threads].map((count) => new ExpertGroup({ numRanks, threads: count }));
    const calls = groups.map((group) => () => group.getDispatchLayout(topkIdx, numExperts, { out }));
    for (const call of calls) for (let i = 0; i < 30; i++) call();
    await sleep(200);
    const isLong = numTokens > 100_000;
    const [one, awake] = await compare(calls, 20, 0, isLong ? 4 : 20);
    const [oneLater, asleep] = await compare(calls, 1, 3, isLong ? 20 : 100);
    const row = [one, awake, one / awake, oneLater, asleep, oneLater / asleep];
    const digits = [0, 0, 2, 0, 0, 2];
    console.log(`${numTokens}, ${numRanks} | ${row.map((value, index) => value.toFixed(digits[index])).join(' | ')}`);
  }
}

console.log('\ntokens | at once µs | asyncFinish, until it returns µs | until the event µs');
for (const numTokens of [1024, 2048, 4096, 16384, 65536]) {
  const { topkIdx, out } = request(numTokens, 8);
  const group = new ExpertGroup({ numRanks: 8 });
  const [atOnce] = await compare([() => group.getDispatchLayout(topkIdx, numExperts, { out })], 1, 2, 50);
  const returned = [];
  const finished = [];
  for (let round = 0; round < 50; round++) {
    await sleep(2);
    const start = performance.now();
    const { event } = group.getDispatchLayout(topkIdx, numExperts, { out, asyncFinish: true });
    returned.push((performance.now() - start) * 1000);
    await event.wait();
    finished.push((performance.now() - start) * 1000);
  }
  console.log(
    `${numTokens} | ${[atOnce, median(returned), median(finished)].map((value) => value.toFixed(0)).join(' | ')}`,
  );
}
