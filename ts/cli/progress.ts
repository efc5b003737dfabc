/**
 * A progress bar on standard error, for long work at a terminal; nothing otherwise.
 *
 * @module
 */
import cliProgress from 'cli-progress';

/** What the work tells its watcher. */
export interface Progress {
  /** @param done how much of the total is done. */
  update(done: number): void;
  /** Takes the bar away. Safe to call at any time. */
  stop(): void;
}

/** Work that is over sooner gets no bar: it would only flicker. */
const patienceMs = 400;

/** @param verb what is going on, such as `reading`. */
export function startProgress(verb: string, total: number): Progress {
  if (!process.stderr.isTTY) return { update() {}, stop() {} };
  const startMs = performance.now();
  let bar: cliProgress.SingleBar | null = null;
  return {
    update(done) {
      if (bar === null && performance.now() - startMs > patienceMs) {
        bar = new cliProgress.SingleBar(
          {
            stream: process.stderr,
            format: `${verb} {bar} {percentage}%, {eta_formatted} left`,
            clearOnComplete: true,
          },
          cliProgress.Presets.shades_classic,
        );
        bar.start(total, done);
      }
      bar?.update(done);
    },
    stop() {
      bar?.stop();
      bar = null;
    },
  };
}
