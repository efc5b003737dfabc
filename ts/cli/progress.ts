/**
 * A progress bar on standard error. It is shown if work takes long and standard error is a terminal.
 *
 * @module
 */
import cliProgress from 'cli-progress';

/** The methods that the work calls to show its progress. */
export interface Progress {
  /** @param done the part of the total that is done. */
  update(done: number): void;
  /** Removes the bar. It may be called at any time. */
  stop(): void;
}

/** The time before a bar is shown. Without it, a bar would flicker during short work. */
const patienceMs = 400;

/**
 * @param verb what is being done, such as `reading`.
 * @param total the value of `done` at the end.
 */
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
