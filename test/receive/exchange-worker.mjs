// One rank of an exchange, in a thread of its own. The bytes go by way of the parent thread.
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { ExpertGroup } from 'dispatch-layout';

const { groupOptions, topkIdx, numExperts, callOptions, options, isSilent, patienceMs } = workerData;

/** Moves the pieces. If another rank does not answer, this one gives up. */
async function allToAll(bytes, bytesPerRank) {
  if (isSilent) return new Promise(() => {});
  parentPort.postMessage({ bytes, bytesPerRank });
  const [received] = await once(parentPort, 'message', { signal: AbortSignal.timeout(patienceMs) });
  return received;
}

// The thread of a rank that waits for ever would end without this
const alive = setInterval(() => {}, 1000);
try {
  const group = new ExpertGroup(groupOptions);
  const layout = group.getDispatchLayout(topkIdx, numExperts, callOptions);
  parentPort.postMessage({ received: await group.exchange(layout, allToAll, options) });
} catch ({ name, code, message }) {
  parentPort.postMessage({ error: { name, code, message } });
}
clearInterval(alive);
parentPort.unref();
