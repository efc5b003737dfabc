/**
 * Saves what the page shows as files.
 *
 * @module
 */
import { make } from './elements.ts';

/** Lets the browser save a text as a file. */
export function saveText(name: string, text: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = make('a', { href: url, download: name });
  link.click();
  // The browser has begun to read it when the click has been handled
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Lets the browser save values as JSON. */
export function saveJson(name: string, value: unknown): void {
  saveText(`${name}.json`, `${JSON.stringify(value)}\n`, 'application/json');
}

/** The names of the colours that pictures use. */
const colours = ['--background', '--text', '--before', '--after', '--bound'];

/** The height of the title of a saved picture. */
const titleHeight = 26;

/**
 * The text of a picture as a file of its own: its title and its parts below one another, with the colours that the page
 * has now.
 *
 * @param caption what the picture shows, for those who cannot see it.
 * @param parts the drawings, such as a legend and what it is for.
 */
export function svgText(title: string, caption: string, parts: readonly SVGSVGElement[]): string {
  const namespace = 'http://www.w3.org/2000/svg';
  const style = getComputedStyle(document.documentElement);
  const whole = document.createElementNS(namespace, 'svg');
  whole.setAttribute('xmlns', namespace);
  const heading = document.createElementNS(namespace, 'title');
  heading.textContent = title;
  const description = document.createElementNS(namespace, 'desc');
  description.textContent = caption;
  const background = document.createElementNS(namespace, 'rect');
  background.setAttribute('width', '100%');
  background.setAttribute('height', '100%');
  background.setAttribute('fill', style.getPropertyValue('--background').trim());
  const shownTitle = document.createElementNS(namespace, 'text');
  for (const [name, value] of Object.entries({ x: 4, y: 17, fill: 'currentColor', 'font-size': 14 })) {
    shownTitle.setAttribute(name, String(value));
  }
  shownTitle.setAttribute('font-family', 'system-ui, sans-serif');
  shownTitle.textContent = title;
  whole.append(heading, description, background, shownTitle);
  let height = titleHeight;
  let width = 0;
  for (const part of parts) {
    const copy = part.cloneNode(true) as SVGSVGElement;
    copy.setAttribute('y', String(height));
    height += Number(part.getAttribute('height'));
    width = Math.max(width, Number(part.getAttribute('width')));
    whole.append(copy);
  }
  whole.setAttribute('width', String(width));
  whole.setAttribute('height', String(height));
  whole.setAttribute('viewBox', `0 0 ${width} ${height}`);
  whole.setAttribute('color', style.getPropertyValue('--text').trim());
  let text = new XMLSerializer().serializeToString(whole);
  for (const name of colours) text = text.replaceAll(`var(${name})`, style.getPropertyValue(name).trim());
  return text.replaceAll('var(--plot-background)', style.getPropertyValue('--background').trim());
}
