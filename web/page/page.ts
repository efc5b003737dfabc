/**
 * The page: it shows a capture by settings, and computes it again whenever one of them changes.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import { defaultSettings, firstRedundant, type Settings } from '../../ts/capture/settings.ts';
import { type PlanFormatName, writePlan } from '../../ts/placement/index.ts';
import { numbersOfRanks, possibleRanks, type SweptRanks, sweepOne } from '../compute/sweep.ts';
import { computeView, type View } from '../compute/view.ts';
import { withExperts } from '../compute/with-experts.ts';
import { pictures } from '../pictures/index.ts';
import { Controls } from './controls.ts';
import { byId, show } from './elements.ts';
import { readEmbedded } from './embedded.ts';
import { Figure } from './figure.ts';
import { Files } from './files.ts';
import { readPlanFile } from './plan-file.ts';
import { saveText } from './save.ts';
import { factsOf, findingsIn, summaryOf } from './summary.ts';
import { inWords } from './words.ts';

/** The page. */
class Page {
  readonly #figures: readonly Figure[];
  readonly #controls: Controls;
  #capture: Capture | null = null;
  #settings: Settings | null = null;
  #view: View | null = null;
  #isPlanned = false;
  /** Which sweep is being computed: an older one ends when there is a newer one. */
  #sweepNumber = 0;
  #sweepKey = '';
  #sweep: readonly SweptRanks[] = [];

  constructor(script: string) {
    this.#figures = pictures.map((picture) => new Figure(picture, () => this.#fileName()));
    byId('pictures').append(...this.#figures.map(({ element }) => element));
    show(byId('pictures'), false);
    this.#controls = new Controls({
      onChange: (settings) => this.#change(settings),
      onExperts: (numExperts) => this.#changeExperts(numExperts),
      onPlanFile: (file) => this.#readPlan(file),
      onSavePlan: (format) => this.#savePlan(format),
    });
    new Files(script, (capture) => this.#open(capture, firstSettings(capture, this.#settings)));
  }

  /** Shows what lies in the page. */
  async start(): Promise<void> {
    try {
      const embedded = await readEmbedded();
      if (embedded !== null) this.#open(embedded.capture, embedded.settings);
    } catch (error) {
      byId('problem').textContent = `This page is damaged: ${messageOf(error)}.`;
    }
  }

  #open(capture: Capture, settings: Settings): void {
    this.#capture = capture;
    this.#sweepKey = '';
    document.title = `Dispatch report: ${capture.name}`;
    byId('facts').replaceChildren(factsOf(capture));
    const findings = findingsIn(capture);
    byId('findings').replaceChildren(...(findings === null ? [] : [findings]));
    show(byId('facts'), true);
    show(byId('findings'), findings !== null);
    this.#controls.show(capture, settings);
    this.#controls.showMisfit('');
    this.#settings = settings;
    this.#update();
  }

  #changeExperts(numExperts: number): void {
    if (this.#capture === null || this.#settings === null) return;
    const numRanks = fittingRanks(numExperts, this.#settings);
    const numRedundant = firstRedundant(numExperts, numRanks);
    this.#open(withExperts(this.#capture, numExperts), { ...this.#settings, numRanks, numRedundant });
  }

  /** Several changes before the next frame are computed once. */
  #change(settings: Settings): void {
    this.#settings = settings;
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    requestAnimationFrame(() => {
      this.#isPlanned = false;
      this.#update();
    });
  }

  #update(): void {
    const capture = this.#capture;
    const settings = this.#settings;
    if (capture === null || settings === null) return;
    try {
      this.#view = { ...computeView(capture, settings), sweep: this.#sweepFor(settings) };
    } catch (error) {
      this.#controls.showMisfit(messageOf(error));
      // Pictures of other settings may stay, but never those of another capture
      this.#showPictures(this.#view?.capture === capture);
      return;
    }
    this.#showPictures(true);
    byId('summary').replaceChildren(summaryOf(this.#view));
    for (const figure of this.#figures) figure.update(this.#view);
    this.#startSweep(capture, settings);
  }

  #showPictures(isShown: boolean): void {
    for (const id of ['summary', 'pictures']) show(byId(id), isShown);
  }

  /** The numbers of ranks that have been computed, if they are of these settings. */
  #sweepFor(settings: Settings): readonly SweptRanks[] {
    return this.#sweepKey === sweepKeyOf(settings) ? this.#sweep : [];
  }

  /** Computes the numbers of ranks one by one, when the browser has nothing else to do. */
  #startSweep(capture: Capture, settings: Settings): void {
    const key = sweepKeyOf(settings);
    if (key === this.#sweepKey) return;
    this.#sweepKey = key;
    this.#sweep = [];
    this.#sweepNumber++;
    const number = this.#sweepNumber;
    const rest = [...numbersOfRanks(capture.numExperts, settings.numRanksPerNode)];
    const { counted } = this.#view as View;
    const swept: SweptRanks[] = [];
    const next = (): void => {
      if (number !== this.#sweepNumber) return;
      const numRanks = rest.shift();
      if (numRanks !== undefined) {
        swept.push(sweepOne(capture, settings, numRanks, counted));
        setTimeout(next);
        return;
      }
      this.#sweep = swept;
      this.#view = { ...(this.#view as View), sweep: swept };
      for (const figure of this.#figures) if (/-over-ranks$/.test(figure.element.id)) figure.update(this.#view);
    };
    setTimeout(next);
  }

  async #readPlan(file: File): Promise<void> {
    const capture = this.#capture;
    const settings = this.#settings;
    if (capture === null || settings === null) return;
    try {
      const plan = await readPlanFile(file, capture.numExperts, settings.numRanks);
      // Another capture may have come meanwhile, for which it was not read
      if (this.#capture === capture) this.#controls.usePlan(plan);
    } catch (error) {
      this.#controls.showMisfit(`${file.name}: ${messageOf(error)}`);
    }
  }

  #savePlan(format: PlanFormatName): void {
    if (this.#view === null) return;
    try {
      const text = writePlan(this.#view.chosen.chosen.plan, format);
      const ending = format === 'tensorrt-llm' ? 'yaml' : 'json';
      saveText(`${this.#fileName()}-plan.${ending}`, text, 'text/plain');
    } catch (error) {
      this.#controls.showMisfit(messageOf(error));
    }
  }

  /** The first part of the names of saved files. */
  #fileName(): string {
    const [first = 'routing'] = (this.#capture?.name ?? '').split(', ');
    return (first.split(/[/\\]/).at(-1) ?? '').replace(/\.\w+$/, '').replaceAll(/[^\w.-]+/g, '_') || 'routing';
  }
}

/** The settings for a file that was just read: those of the file before, as far as they fit. */
function firstSettings(capture: Capture, before: Settings | null): Settings {
  const earlier = before ?? defaultSettings(capture.numExperts);
  // A plan is for the file before
  const settings: Settings = { ...earlier, ...(earlier.placement === 'file' && { placement: 'linear' }), plan: null };
  const sparse = capture.counts.findIndex((_, layer) => !capture.dense.includes(layer));
  const numRanks = fittingRanks(capture.numExperts, settings);
  const keepsRule = settings.placement === 'eplb' && (settings.sourceRank ?? 0) < numRanks;
  return {
    ...settings,
    numRanks,
    ...(!keepsRule && { replicaRule: 'round_robin', sourceRank: null }),
    numRedundant: firstRedundant(capture.numExperts, numRanks),
    layer: Math.max(0, sparse),
  };
}

/** The number of ranks that was chosen, or the next lower one that so many experts can have. */
function fittingRanks(numExperts: number, { numRanks, numRanksPerNode, placement }: Settings): number {
  // A plan has its own number
  if (placement === 'file') return numRanks;
  const fitting = possibleRanks(numExperts, numRanksPerNode).filter((number) => number <= numRanks);
  return fitting.at(-1) ?? 1;
}

/** The settings that the sweep over numbers of ranks depends on. */
function sweepKeyOf({ placement, numRanksPerNode, keepDense }: Settings): string {
  return JSON.stringify([placement === 'round_robin', numRanksPerNode, keepDense]);
}

function messageOf(error: unknown): string {
  return inWords(error instanceof Error ? error.message : String(error));
}

/**
 * Makes the page work.
 *
 * @param script the code of this program, from which the worker is made.
 */
export function openPage(script: string): Promise<void> {
  return new Page(script).start();
}
