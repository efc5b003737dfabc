/**
 * The fake CUDA runtime itself: it must be as strict as a GPU, or the tests of the addon prove nothing. The tests use it
 * as another library in the process does (`test/cuda-fake/other_library.cpp`).
 */
import { assert } from 'chai';
import { root } from '../support/root.ts';
import { printedBy, runScript } from '../support/run-script.ts';
import { fakeAddon } from './fake.ts';

const prelude = `
  import { createRequire } from 'node:module';
  const cuda = createRequire(import.meta.url)('${root}build/cuda-fake/other_library.node');
  const [nonBlocking, blocking] = [false, true];
  const attempt = (use) => {
    try { return use() ?? 'fine'; } catch (error) { return error.message; }
  };
  const make = (values) => {
    const pointer = cuda.malloc(64);
    cuda.write(pointer, Int32Array.from(values));
    return pointer;
  };
  const first = (pointer) => {
    const array = new Int32Array(1);
    cuda.read(pointer, array);
    return array[0];
  };
  /** Copies on a stream that is busy for a moment. */
  const copySlowly = (target, source, stream) => {
    cuda.sleepOnStream(stream, 50);
    cuda.copyOnStream(target, source, 4, stream);
  };`;

/** The lines that a script prints. */
function run(script: string, env: Readonly<Record<string, string>> = {}): readonly string[] {
  return printedBy(prelude + script, env).split('\n');
}

/** What a process says that the fake runtime stops. */
function stoppedBy(script: string, env: Readonly<Record<string, string>> = {}): string {
  const { status, stderr } = runScript(prelude + script, env);
  assert.notStrictEqual(status, 0);
  return stderr;
}

describe('the fake CUDA runtime', function () {
  this.timeout(60_000);
  before(() => {
    fakeAddon();
  });

  it('the legacy stream and blocking streams wait for each other, and other streams do not', () => {
    const lines = run(`
      const streams = { blocking: cuda.createStream(blocking), nonBlocking: cuda.createStream(nonBlocking) };
      for (const [name, stream] of Object.entries(streams)) {
        const [one, two, three] = [[1], [2], [3]].map(make);
        copySlowly(two, one, stream);
        cuda.copyOnStream(three, two, 4, 0n);
        cuda.synchronizeStream(0n);
        console.log('legacy after', name, first(three));
        cuda.synchronizeStream(stream);
        const [four, five, six] = [[4], [5], [6]].map(make);
        copySlowly(five, four, 0n);
        cuda.copyOnStream(six, five, 4, stream);
        cuda.synchronizeStream(stream);
        cuda.synchronizeDevice();
        console.log(name, 'after legacy', first(six));
      }
      const [seven, eight] = [[7], [8]].map(make);
      copySlowly(eight, seven, streams.blocking);
      cuda.destroyStream(streams.blocking);
      console.log('legacy after the end of a blocking stream', first(eight));`);
    assert.deepStrictEqual(lines, [
      'legacy after blocking 1',
      'blocking after legacy 4',
      'legacy after nonBlocking 2',
      'nonBlocking after legacy 5',
      'legacy after the end of a blocking stream 7',
    ]);
  });

  it('memory is handed out again at once on the stream that frees it, and on others when it is free', () => {
    const lines = run(`
      const [stream, other] = [cuda.createStream(nonBlocking), cuda.createStream(nonBlocking)];
      const pool = cuda.createPool();
      const memory = cuda.mallocFromPool(pool, 1000, stream);
      cuda.sleepOnStream(stream, 50);
      cuda.freeOnStream(memory, stream);
      const elsewhere = cuda.mallocFromPool(pool, 1000, other);
      const here = cuda.mallocFromPool(pool, 900, stream);
      console.log(elsewhere === memory, here === memory);
      cuda.freeOnStream(here, stream);
      cuda.synchronizeStream(stream);
      const later = cuda.mallocFromPool(pool, 1000, other);
      console.log(later === memory, first(later) === (0xdddddddd | 0));
      for (const each of [elsewhere, later]) cuda.freeOnStream(each, other);
      cuda.destroyPool(pool);

      const pinned = cuda.mallocPinned(5000);
      cuda.write(pinned, Int32Array.of(1));
      cuda.freePinned(pinned);
      console.log(cuda.mallocPinned(5000) === pinned, first(pinned) === (0xdddddddd | 0));
      console.log(attempt(() => cuda.write(pinned, new Uint8Array(5001))));`);
    assert.deepStrictEqual(lines, ['false true', 'true true', 'true true', 'cudaErrorInvalidValue: cudaMemcpy']);
  });

  it('memory that is freed twice, in either way, stops the process', () => {
    const message = /memory was freed that was freed before or never allocated/;
    assert.match(stoppedBy('const pointer = cuda.malloc(4); cuda.free(pointer); cuda.free(pointer);'), message);
    const onStream = 'const pointer = cuda.malloc(4); cuda.freeOnStream(pointer, 0n); cuda.freeOnStream(pointer, 0n);';
    assert.match(stoppedBy(onStream), message);
  });

  it('a graph repeats what was captured on all streams that joined the capture', () => {
    const lines = run(`
      const [origin, joined] = [cuda.createStream(nonBlocking), cuda.createStream(nonBlocking)];
      const [one, two, three] = [[1], [2], [3]].map(make);
      const [fork, join] = [cuda.createEvent(), cuda.createEvent()];
      cuda.beginCapture(origin, 'global');
      cuda.copyOnStream(two, one, 4, origin);
      cuda.recordEvent(fork, origin);
      cuda.waitForEvent(joined, fork);
      console.log(cuda.captureStatus(joined));
      cuda.copyOnStream(three, two, 4, joined);
      cuda.recordEvent(join, joined);
      cuda.waitForEvent(origin, join);
      const graph = cuda.endCapture(origin);
      console.log(cuda.captureStatus(joined), first(two), first(three));
      for (const value of [5, 6]) {
        cuda.write(one, Int32Array.of(value));
        cuda.launchGraph(graph, joined);
        cuda.synchronizeStream(joined);
        console.log(first(three));
      }
      cuda.destroyGraph(graph);`);
    assert.deepStrictEqual(lines, ['active', 'none 2 3', '5', '6']);
  });

  it('what a capture forbids is refused, and invalidates it', () => {
    const lines = run(`
      const [origin, other] = [cuda.createStream(nonBlocking), cuda.createStream(nonBlocking)];
      const withLegacy = cuda.createStream(blocking);
      const [one, two, pool] = [make([1]), make([2]), cuda.createPool()];
      const memory = cuda.mallocFromPool(pool, 4, 0n);
      const [event, outside] = [cuda.createEvent(), cuda.createEvent()];
      const fork = () => {
        cuda.recordEvent(event, origin);
        cuda.waitForEvent(other, event);
      };
      const uses = {
        unjoined: () => {
          fork();
          cuda.copyOnStream(two, one, 4, other);
        },
        unmatched: () => {
          fork();
          cuda.endCapture(other);
        },
        isolation: () => cuda.waitForEvent(origin, outside),
        event: () => {
          cuda.recordEvent(event, origin);
          cuda.isEventDone(event);
        },
        waiting: () => {
          cuda.recordEvent(event, origin);
          cuda.synchronizeEvent(event);
        },
        stream: () => cuda.synchronizeStream(origin),
        query: () => cuda.isStreamDone(origin),
        device: () => cuda.synchronizeDevice(),
        freeing: () => cuda.freeOnStream(memory, origin),
        merge: () => {
          cuda.beginCapture(withLegacy, 'relaxed');
          cuda.recordEvent(event, origin);
          try { cuda.waitForEvent(withLegacy, event); } finally { attempt(() => cuda.endCapture(withLegacy)); }
        },
        nothing: () => {},
      };
      cuda.recordEvent(outside, other);
      for (const [name, use] of Object.entries(uses)) {
        cuda.beginCapture(origin, 'relaxed');
        const outcome = attempt(use);
        const end = attempt(() => cuda.endCapture(origin));
        console.log(name, outcome, typeof end === 'bigint' ? 'a graph' : end);
      }
      cuda.beginCapture(withLegacy, 'relaxed');
      console.log(attempt(() => cuda.captureStatus(0n)), cuda.captureStatus(withLegacy), cuda.captureStatus(other));
      console.log(attempt(() => cuda.recordEvent(event, 0n)), cuda.captureStatus(withLegacy));
      console.log(attempt(() => cuda.copyOnStream(two, one, 4, withLegacy)));
      console.log(attempt(() => cuda.endCapture(withLegacy)), cuda.captureStatus(withLegacy), cuda.captureStatus(0n));`);
    const invalidated = 'cudaErrorStreamCaptureInvalidated: cudaStreamEndCapture';
    const unsupported = 'cudaErrorStreamCaptureUnsupported';
    assert.deepStrictEqual(lines, [
      'unjoined fine cudaErrorStreamCaptureUnjoined: cudaStreamEndCapture',
      `unmatched cudaErrorStreamCaptureUnmatched: cudaStreamEndCapture ${invalidated}`,
      `isolation cudaErrorStreamCaptureIsolation: cudaStreamWaitEvent ${invalidated}`,
      `event cudaErrorCapturedEvent: cudaEventQuery ${invalidated}`,
      `waiting cudaErrorCapturedEvent: cudaEventSynchronize ${invalidated}`,
      `stream ${unsupported}: cudaStreamSynchronize ${invalidated}`,
      `query ${unsupported}: cudaStreamQuery ${invalidated}`,
      `device ${unsupported}: cudaDeviceSynchronize ${invalidated}`,
      `freeing cudaErrorInvalidValue: cudaFreeAsync ${invalidated}`,
      `merge cudaErrorStreamCaptureMerge: cudaStreamWaitEvent ${invalidated}`,
      'nothing fine a graph',
      'cudaErrorStreamCaptureImplicit: cudaStreamIsCapturing active none',
      'cudaErrorStreamCaptureImplicit: cudaEventRecord invalidated',
      'cudaErrorStreamCaptureInvalidated: cudaMemcpyAsync',
      `${invalidated} none none`,
    ]);
  });

  it('unsafe calls during a capture are refused, according to its mode and to that of the thread', () => {
    const lines = run(`
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const stream = cuda.createStream(nonBlocking);
      const event = cuda.createEvent();
      const calls = {
        cudaMalloc: () => cuda.malloc(4),
        cudaHostAlloc: () => cuda.mallocPinned(4),
        cudaEventQuery: () => cuda.isEventDone(event),
        cudaStreamSynchronize: () => cuda.synchronizeStream(0n),
        cudaMemPoolCreate: () => cuda.createPool(),
      };
      const refused = () => Object.entries(calls).filter(([name, use]) => String(attempt(use)).endsWith(name)).length;
      for (const capture of ['global', 'threadLocal', 'relaxed']) {
        for (const thread of ['global', 'threadLocal', 'relaxed']) {
          cuda.setCaptureMode(thread);
          cuda.beginCapture(stream, capture);
          console.log(capture, thread, refused(), cuda.captureStatus(stream));
          attempt(() => cuda.endCapture(stream));
        }
      }
      const code = 'const { parentPort, workerData } = require("node:worker_threads");' +
        'const cuda = require(workerData);' +
        'try { cuda.free(cuda.malloc(4)); parentPort.postMessage("fine"); } catch (error) { parentPort.postMessage(error.message); }';
      for (const capture of ['global', 'threadLocal']) {
        cuda.beginCapture(stream, capture);
        const worker = new Worker(code, {
          eval: true,
          execArgv: ['--input-type=commonjs'],
          workerData: '${root}build/cuda-fake/other_library.node',
        });
        console.log(capture, ...(await once(worker, 'message')), cuda.captureStatus(stream));
        attempt(() => cuda.endCapture(stream));
      }`);
    assert.deepStrictEqual(lines, [
      'global global 5 invalidated',
      'global threadLocal 5 invalidated',
      'global relaxed 0 active',
      'threadLocal global 5 invalidated',
      'threadLocal threadLocal 5 invalidated',
      'threadLocal relaxed 0 active',
      'relaxed global 0 active',
      'relaxed threadLocal 0 active',
      'relaxed relaxed 0 active',
      'global cudaErrorStreamCaptureUnsupported: cudaMalloc invalidated',
      'threadLocal fine active',
    ]);
  });

  it('memory that is allocated in a capture stops the process', () => {
    const script = `
      const [stream, pool] = [cuda.createStream(nonBlocking), cuda.createPool()];
      cuda.beginCapture(stream, 'relaxed');
      cuda.mallocFromPool(pool, 4, stream);`;
    assert.match(stoppedBy(script), /fake CUDA: memory allocated in a capture/);
  });

  it('streams, events, pools and memory belong to the device that was current', () => {
    const lines = run(
      `
      console.log(cuda.getDevice(), attempt(() => cuda.setDevice(2)));
      cuda.setDevice(1);
      const [stream, event, pool] = [cuda.createStream(nonBlocking), cuda.createEvent(), cuda.createPool()];
      const [one, two] = [make([1]), make([2])];
      cuda.recordEvent(event, stream);
      cuda.copyOnStream(two, one, 4, stream);
      cuda.synchronizeStream(stream);
      console.log(cuda.getDevice(), first(two));
      cuda.setDevice(0);
      console.log(attempt(() => cuda.recordEvent(event, 0n)), attempt(() => cuda.waitForEvent(0n, event)));
      console.log(attempt(() => cuda.mallocFromPool(pool, 4, 0n)));
      cuda.recordEvent(event, stream);
      cuda.destroyStream(stream);
      console.log(attempt(() => cuda.synchronizeStream(stream)), cuda.getLastError());`,
      { FAKE_CUDA_DEVICES: '2' },
    );
    assert.deepStrictEqual(lines, [
      '0 cudaErrorInvalidDevice: cudaSetDevice',
      '1 1',
      'cudaErrorInvalidResourceHandle: cudaEventRecord fine',
      'cudaErrorInvalidValue: cudaMallocFromPoolAsync',
      'cudaErrorInvalidResourceHandle: cudaStreamSynchronize cudaSuccess',
    ]);
  });

  it('work that touches memory of another device stops the process', () => {
    const script = 'cuda.setDevice(1); const memory = make([1]); cuda.setDevice(0); first(memory);';
    assert.match(stoppedBy(script, { FAKE_CUDA_DEVICES: '2' }), /fake CUDA: device 0 touched memory of device 1/);
  });

  it('the report counts what is left, and names the contexts that were created', () => {
    const { stderr } = runScript(
      `${prelude}
      cuda.setDevice(2);
      cuda.isEventDone(cuda.createEvent());
      for (const each of [1, 2]) cuda.createStream(nonBlocking);
      cuda.destroyStream(cuda.createStream(blocking));
      cuda.malloc(4);`,
      { FAKE_CUDA_DEVICES: '3', FAKE_CUDA_REPORT: '1' },
    );
    assert.deepStrictEqual(stderr.trim().split('\n'), [
      'fake CUDA: live streams 2, events 1, pools 0, pinned 0, allocations 1',
      'fake CUDA: contexts 2; event queries 1; high-priority streams 0 of 0; most streams 3',
    ]);
  });

  it('without memory pools, their functions are not supported', () => {
    assert.deepStrictEqual(run('console.log(attempt(() => cuda.createPool()));', { FAKE_CUDA_POOLS: '0' }), [
      'cudaErrorNotSupported: cudaMemPoolCreate',
    ]);
  });
});
