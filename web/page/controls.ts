/**
 * The controls of the page: they show the settings, and say how they are changed.
 *
 * @module
 */
import { type Capture, hasTokens, mostExperts } from '../../ts/capture/capture.ts';
import { firstRedundant, type PlacementChoice, type Settings, type StoredPlan } from '../../ts/capture/settings.ts';
import { type PlanFormatName, planFormats } from '../../ts/placement/index.ts';
import { mostRanks, possibleRanks } from '../compute/sweep.ts';
import { layerName } from '../compute/view.ts';
import { fewestExperts } from '../compute/with-experts.ts';
import { byId, make, show } from './elements.ts';

const input = (id: string): HTMLInputElement => byId<HTMLInputElement>(id);
const select = (id: string): HTMLSelectElement => byId<HTMLSelectElement>(id);

/** The windows that can be chosen, in tokens. */
const windowSizes = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536, 262_144, 1_048_576];

/** Who hears of the controls. */
export interface ControlsListener {
  onChange(settings: Settings): void;
  onExperts(numExperts: number): void;
  onPlanFile(file: File): void;
  onSavePlan(format: PlanFormatName): void;
}

/** The controls. */
export class Controls {
  #settings: Settings | null = null;
  #capture: Capture | null = null;
  readonly #listener: ControlsListener;

  constructor(listener: ControlsListener) {
    this.#listener = listener;
    for (const format of planFormats) select('plan-format').append(make('option', { value: format }, format));
    select('plan-format').value = 'sglang';
    const form = byId<HTMLFormElement>('controls');
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('input', ({ target }) => this.#onInput(target as HTMLInputElement));
    byId('save-plan').addEventListener('click', () =>
      listener.onSavePlan(select('plan-format').value as PlanFormatName),
    );
    input('plan-file').addEventListener('change', () => {
      const [file] = input('plan-file').files ?? [];
      // The same file can be chosen again after it has changed
      input('plan-file').value = '';
      if (file !== undefined) listener.onPlanFile(file);
    });
  }

  /** Shows settings of a capture. */
  show(capture: Capture, settings: Settings): void {
    this.#capture = capture;
    this.#settings = settings;
    const { numExperts, layers, numLayers } = capture;
    const offered = possibleRanks(numExperts, settings.numRanksPerNode);
    const isFixed = settings.placement === 'file' && settings.plan !== null;
    // The slider's values are places in the list of numbers that can be
    const place = offered.filter((number) => number <= settings.numRanks).length - 1;
    setRange(input('ranks'), 0, offered.length - 1, 1, Math.max(0, place));
    input('ranks').setAttribute('aria-valuetext', `${settings.numRanks} ranks`);
    input('ranks-number').max = String(numExperts);
    setValue(input('ranks-number'), settings.numRanks);
    for (const id of ['ranks', 'ranks-number']) input(id).disabled = isFixed;
    setValue(input('ranks-per-node'), settings.numRanksPerNode);
    select('placement').value = settings.placement;
    show(byId('plan-choice'), settings.placement === 'file');
    byId('plan-name').textContent = settings.plan?.name ?? '';
    const isEplb = settings.placement === 'eplb';
    show(byId('redundant-choice'), isEplb);
    const first = firstRedundant(numExperts, settings.numRanks);
    setRange(input('redundant'), first, first + 8 * settings.numRanks, settings.numRanks, settings.numRedundant);
    byId('redundant-number').textContent = String(settings.numRedundant);
    show(byId('rule-choice'), (isEplb || settings.placement === 'file') && hasTokens(capture));
    select('rule').value = settings.replicaRule;
    show(byId('source-choice'), settings.replicaRule === 'nearest' && !byId('rule-choice').hidden);
    setValue(input('source-rank'), settings.sourceRank ?? capture.ranks[0] ?? 0);
    setValue(input('experts'), numExperts);
    input('experts').min = String(fewestExperts(capture));
    setRange(input('layer'), 0, numLayers - 1, 1, settings.layer);
    byId('layer-number').textContent = layerName(capture, settings.layer);
    show(input('layer').parentElement as HTMLElement, layers !== null && numLayers > 1);
    showWindows(capture, settings.window);
    // Without tokens, there are no batches of them, and none of them chooses a replica
    show(select('window').parentElement as HTMLElement, hasTokens(capture));
    setValue(input('hidden-size'), settings.hiddenSize ?? '');
    setValue(input('bytes-per-element'), settings.bytesPerElement);
    input('dense').checked = settings.keepDense;
    show(byId('dense-choice'), capture.dense.length > 0);
    show(byId('controls'), true);
  }

  /** Shows why the settings do not fit, or nothing. */
  showMisfit(message: string): void {
    byId('misfit').textContent = message;
  }

  /** Shows a plan from a file. */
  usePlan(plan: StoredPlan): void {
    this.#change({ placement: 'file', plan, numRanks: plan.numRanks });
  }

  #onInput(target: HTMLInputElement): void {
    const number = Number(target.value);
    switch (target.id) {
      case 'experts':
        this.#onExperts(number);
        return;
      case 'ranks':
        this.#onRanks(this.#offered()[number]);
        return;
      case 'ranks-number':
        this.#onRanks(number);
        return;
      case 'ranks-per-node':
        this.#onWhole('numRanksPerNode', number, target);
        return;
      case 'placement':
        this.#onPlacement(target.value as PlacementChoice);
        return;
      case 'redundant':
        this.#change({ numRedundant: number });
        return;
      case 'rule': {
        const replicaRule = target.value as Settings['replicaRule'];
        const sourceRank = replicaRule === 'nearest' ? Number(input('source-rank').value) : null;
        this.#change({ replicaRule, sourceRank });
        return;
      }
      case 'source-rank':
        this.#change({ sourceRank: number });
        return;
      case 'layer':
        this.#change({ layer: number });
        return;
      case 'window':
        this.#change({ window: number });
        return;
      case 'hidden-size':
        if (target.value === '') {
          this.#change({ hiddenSize: null });
          return;
        }
        this.#onWhole('hiddenSize', number, target);
        return;
      case 'bytes-per-element':
        if (!(number > 0)) {
          this.showMisfit('The bytes of an element must be above 0.');
          return;
        }
        this.#change({ bytesPerElement: number });
        return;
      case 'dense':
        this.#change({ keepDense: target.checked });
        return;
    }
  }

  #onWhole(name: 'numRanksPerNode' | 'hiddenSize', number: number, { parentElement }: HTMLInputElement): void {
    if (Number.isInteger(number) && number >= 1) {
      this.#change({ [name]: number });
      return;
    }
    this.showMisfit(`${(parentElement?.textContent ?? '').trim()}: give a whole number from 1 on.`);
  }

  #onExperts(numExperts: number): void {
    const fewest = Number(input('experts').min);
    if (Number.isInteger(numExperts) && numExperts >= fewest && numExperts <= mostExperts) {
      this.#listener.onExperts(numExperts);
    } else {
      this.showMisfit(`There are from ${fewest} to ${mostExperts} experts: expert ${fewest - 1} was selected.`);
    }
  }

  #offered(): readonly number[] {
    return possibleRanks(this.#capture?.numExperts ?? 1, this.#settings?.numRanksPerNode ?? 1);
  }

  #onRanks(numRanks: number): void {
    const most = Math.min(this.#capture?.numExperts ?? 1, mostRanks);
    if (Number.isInteger(numRanks) && numRanks >= 1 && numRanks <= most) {
      const sourceRank = this.#settings?.sourceRank ?? null;
      this.#change({ numRanks, sourceRank: sourceRank === null ? null : Math.min(sourceRank, numRanks - 1) });
      return;
    }
    const why = most === mostRanks ? '' : ', one for each expert at most';
    this.showMisfit(`There can be from 1 to ${most} ranks${why}.`);
  }

  #onPlacement(placement: PlacementChoice): void {
    const isOfReplicas = placement === 'eplb' || placement === 'file';
    const plan = placement === 'file' ? this.#settings?.plan : null;
    this.#change({
      placement,
      ...(plan != null && { numRanks: plan.numRanks }),
      ...(!isOfReplicas && { replicaRule: 'round_robin', sourceRank: null }),
    });
  }

  #change(changes: Partial<Settings>): void {
    if (this.#settings === null || this.#capture === null) return;
    const changed = { ...this.#settings, ...changes };
    // With EPLB, each rank has the same number of slots
    const first = firstRedundant(this.#capture.numExperts, changed.numRanks);
    const steps = Math.max(0, Math.min(8, Math.round((changed.numRedundant - first) / changed.numRanks)));
    const settings = { ...changed, numRedundant: first + steps * changed.numRanks };
    this.show(this.#capture, settings);
    this.showMisfit('');
    this.#listener.onChange(settings);
  }
}

/** Sets a value, unless the user is typing it. */
function setValue(element: HTMLInputElement, value: number | string): void {
  if (document.activeElement !== element || element.type === 'range') element.value = String(value);
}

function setRange(element: HTMLInputElement, min: number, max: number, step: number, value: number): void {
  element.min = String(min);
  element.max = String(max);
  element.step = String(step);
  element.value = String(value);
}

function showWindows({ numKept }: Capture, chosen: number): void {
  // The largest one has all tokens
  const sizes = windowSizes.filter((size) => size < 2 * numKept || size === windowSizes[0]);
  if (!sizes.includes(chosen)) sizes.push(chosen);
  sizes.sort((left, right) => left - right);
  const window = select('window');
  const listed = Array.from(window.options, ({ value }) => Number(value));
  if (listed.join() !== sizes.join()) {
    window.replaceChildren(...sizes.map((size) => make('option', { value: String(size) }, String(size))));
  }
  window.value = String(chosen);
}
