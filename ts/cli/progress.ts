/**
 * A progress bar on standard error. It is shown if work takes long and standard error is a terminal.
 *
 * @module
 */
import cliProgress from 'cli-progress';
import { abbreviated } from './report/numbers.ts';

/** The methods that the work calls to show its progress. */
export interface Progress {
  /** @param done the part of the total that is done. */
  update(done: number): void;
  /** Removes the bar, and shows none from then on. It may be called at any time. */
  stop(): void;
}

/** The time before a bar is shown. Without it, a bar would flicker during short work. */
const patienceMs = 1000;
/** The time between two updates of the bar. */
const intervalMs = 100;

/**
 * @param verb what is being done, such as `reading`.
 * @param total the value of `done` at the end.
 * @param unit what is counted, such as `tokens`.
 */
export function startProgress(verb: string, total: number, unit: string): Progress {
  if (!process.stderr.isTTY) return { update() {}, stop() {} };
  const startMs = performance.now();
  let bar: cliProgress.SingleBar | null = null;
  let nextMs = startMs + patienceMs;
  return {
    update(done) {
      const now = performance.now();
      if (now < nextMs) return;
      nextMs = now + intervalMs;
      const perSecond = (done / (now - startMs)) * 1000;
      const rate = perSecond < 10 ? perSecond.toFixed(1) : abbreviated(perSecond);
      const left = timeLeft((total - done) / perSecond);
      if (bar === null) {
        bar = new cliProgress.SingleBar(
          {
            stream: process.stderr,
            format: `${verb} {bar} {percentage}%, {rate} ${unit}/s, {left} left`,
            clearOnComplete: true,
          },
          cliProgress.Presets.shades_classic,
        );
        bar.start(total, done, { rate, left });
      }
      bar.update(done, { rate, left });
    },
    stop() {
      bar?.stop();
      nextMs = Infinity;
    },
  };
}

/** A time, rounded up to whole seconds. */
function timeLeft(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
