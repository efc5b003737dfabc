/**
 * A picture in the page: drawn when it comes into view, with tooltips, a cursor for the keyboard, and buttons that save
 * it.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import type { View } from '../compute/view.ts';
import type { Picture, Point } from '../pictures/picture.ts';
import { make, show } from './elements.ts';
import { saveJson, saveText, svgText } from './save.ts';

/** Which arrow key goes where: the signs of x and y, as they are on the screen. */
const directions: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** A place on the screen. */
interface Place {
  readonly x: number;
  readonly y: number;
}

/** One picture in the page. */
export class Figure {
  readonly element: HTMLElement;
  readonly #picture: Picture;
  readonly #caption = make('p', {});
  readonly #plot: HTMLElement;
  readonly #saveSvg: HTMLButtonElement;
  readonly #spoken = make('p', { class: 'spoken', 'aria-live': 'polite' });
  #view: View | null = null;
  #isStale = false;
  #isVisible = false;
  #width = 0;
  #svg: SVGSVGElement | null = null;
  #points: readonly Point[] = [];
  #cursor = -1;

  /** @param fileName the first part of the names of saved files. */
  constructor(picture: Picture, fileName: () => string) {
    this.#picture = picture;
    const { id, title } = picture;
    this.#plot = make('div', {
      class: 'plot',
      tabindex: '0',
      role: 'application',
      'aria-roledescription': 'picture',
      id: `plot-${id}`,
    });
    const save = (label: string, act: () => void): HTMLButtonElement => {
      const button = make('button', { type: 'button' }, label);
      button.setAttribute('aria-label', `${label}: ${title}`);
      button.addEventListener('click', act);
      return button;
    };
    this.#saveSvg = save('Save SVG', () =>
      saveText(
        `${fileName()}-${id}.svg`,
        svgText(title, this.#caption.textContent ?? '', [
          ...this.#plot.querySelectorAll<SVGSVGElement>('svg.chart, svg.legend'),
        ]),
        'image/svg+xml',
      ),
    );
    // It is as wide as the picture, and is there when the picture is not
    const caption = make('figcaption', {}, make('h2', {}, title), this.#caption);
    this.element = make(
      'figure',
      { id, ...(picture.isWide && { class: 'wide' }) },
      caption,
      this.#plot,
      this.#spoken,
      make(
        'div',
        { class: 'actions' },
        this.#saveSvg,
        save('Save JSON', () => {
          if (this.#view !== null) saveJson(`${fileName()}-${id}`, dataOf(picture, this.#view));
        }),
      ),
    );
    this.#plot.addEventListener('keydown', (event) => this.#onKey(event));
    this.#plot.addEventListener('blur', () => this.#point(-1));
    // A click would hold the tooltip where it is, and the arrow keys could no longer move it
    this.#plot.addEventListener('pointerdown', (event) => event.stopPropagation(), { capture: true });
    new IntersectionObserver((entries) => {
      // Of several, the last one says how it is now
      this.#isVisible = entries.at(-1)?.isIntersecting === true;
      this.#draw();
    }).observe(this.element);
    new ResizeObserver(() => {
      const width = Math.floor(caption.clientWidth);
      if (width === this.#width) return;
      this.#width = width;
      this.#isStale = true;
      this.#draw();
    }).observe(caption);
    // All pictures are on paper
    addEventListener('beforeprint', () => this.#draw(true));
  }

  /** Shows another view: at once if the picture is on the screen, else when it comes there. */
  update(view: View): void {
    this.#view = view;
    this.#isStale = true;
    this.#draw();
  }

  #draw(isShown = this.#isVisible): void {
    const view = this.#view;
    if (!this.#isStale || !isShown || view === null || this.#width === 0) return;
    this.#isStale = false;
    const drawing = this.#picture.draw(view, this.#width);
    const caption = this.#picture.caption(view);
    const isDrawn = drawing !== null && typeof drawing !== 'string';
    this.#caption.textContent = isDrawn ? caption : (drawing ?? 'There is nothing to show with these settings.');
    this.#plot.setAttribute('aria-label', `${this.#picture.title}. ${caption}`);
    show(this.#plot, isDrawn);
    this.#saveSvg.disabled = !isDrawn;
    this.#points = isDrawn ? drawing.points : [];
    this.#cursor = -1;
    this.#spoken.textContent = '';
    if (!isDrawn) {
      this.#svg = null;
      this.#plot.replaceChildren();
      return;
    }
    const { plot, points, pointsAreColumns } = drawing;
    const { color, marks = [], ...options } = plot;
    const { legend, ...scale } = color ?? {};
    const tip = Plot.tip(
      points,
      (pointsAreColumns ? Plot.pointerX : Plot.pointer)({
        x: 'x',
        y: 'y',
        title: 'text',
        maxRadius: 60,
        fill: 'var(--background)',
        stroke: 'var(--before)',
      }),
    );
    const drawn = Plot.plot({ ...options, ...(color !== undefined && { color: scale }), marks: [...marks, tip] });
    const svg = drawn as unknown as SVGSVGElement;
    svg.classList.add('chart');
    const parts: Element[] = [svg];
    if (legend === true) {
      const ramp = (drawn as Plot.Plot).legend('color', {
        width: Math.min(240, this.#width),
        marginLeft: 8,
        ticks: 4,
      }) as unknown;
      if (ramp instanceof SVGSVGElement) {
        ramp.classList.add('legend');
        parts.unshift(ramp);
      }
    }
    // The page's own style sheet says what these would: its policy allows no other
    for (const part of parts) for (const style of part.querySelectorAll('style')) style.remove();
    this.#svg = svg;
    this.#plot.replaceChildren(...parts);
  }

  /** The places of all points in the coordinates of the drawing. */
  #places(): readonly Place[] {
    const plot = this.#svg as unknown as Plot.Plot;
    const apply = (name: 'x' | 'y', value: number): number => plot.scale(name)?.apply(value) ?? 0;
    return this.#points.map(({ x, y }) => ({ x: apply('x', x), y: apply('y', y) }));
  }

  #onKey(event: KeyboardEvent): void {
    const direction = directions[event.key];
    const isEnd = event.key === 'Home' || event.key === 'End';
    if (this.#svg === null || this.#points.length === 0) return;
    if (event.key === 'Escape') {
      this.#point(-1);
      return;
    }
    if (direction === undefined && !isEnd) return;
    event.preventDefault();
    if (event.key === 'End') {
      this.#point(this.#points.length - 1);
      return;
    }
    if (isEnd || this.#cursor < 0) {
      this.#point(0);
      return;
    }
    this.#point(nearestIn(direction, this.#places(), this.#cursor));
  }

  /** Moves the cursor to a point, as the mouse would, and says what is there; -1 for none. */
  #point(index: number): void {
    const svg = this.#svg;
    this.#cursor = index;
    if (svg === null) return;
    if (index < 0) {
      svg.dispatchEvent(new PointerEvent('pointerleave', { pointerType: 'mouse' }));
      this.#spoken.textContent = '';
      return;
    }
    const { x, y } = this.#places()[index];
    const corner = svg.getBoundingClientRect();
    const scale = corner.width / Number(svg.getAttribute('width'));
    const at = { clientX: corner.left + x * scale, clientY: corner.top + y * scale };
    svg.dispatchEvent(new PointerEvent('pointermove', { ...at, bubbles: true, pointerType: 'mouse' }));
    this.#spoken.textContent = this.#points[index].text.replaceAll('\n', ', ');
  }
}

/** The numbers of a picture, with what they are of. */
function dataOf({ id, data }: Picture, view: View): object {
  const { capture, settings } = view;
  const { name, numTokens, numKept } = capture;
  const { plan, ...shown } = settings;
  return {
    picture: id,
    files: name,
    numTokens,
    numKept,
    settings: { ...shown, plan: plan?.name ?? null },
    data: data(view),
  };
}

/**
 * The index of the nearest place in a direction, or the same one where there is none: that of the next column or row,
 * and of several in it the one that is least aside.
 */
function nearestIn([dx, dy]: readonly [number, number], places: readonly Place[], from: number): number {
  let best = from;
  let least = Number.POSITIVE_INFINITY;
  for (const [index, { x, y }] of places.entries()) {
    const forward = (x - places[from].x) * dx + (y - places[from].y) * dy;
    if (forward < 0.01) continue;
    const aside = Math.abs((x - places[from].x) * dy) + Math.abs((y - places[from].y) * dx);
    // No picture is a million pixels wide or high
    const distance = forward * 1e6 + aside;
    if (distance < least) {
      least = distance;
      best = index;
    }
  }
  return best;
}
