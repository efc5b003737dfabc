/**
 * Chromium and Firefox, driven as a person would: by the mouse, the keyboard and files.
 *
 * @module
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import puppeteer, { type Browser, type Page } from 'puppeteer-core';

/** A browser that tests can use. */
export interface BrowserKind {
  readonly name: 'Chromium' | 'Firefox';
  /** Where it may be installed. */
  readonly paths: readonly string[];
  launch(path: string, downloads: string): Promise<Browser>;
}

export const browserKinds: readonly BrowserKind[] = [
  {
    name: 'Chromium',
    paths: [process.env.DISPATCH_LAYOUT_CHROMIUM ?? '/usr/bin/chromium', '/usr/bin/google-chrome'],
    async launch(executablePath, downloads) {
      const browser = await puppeteer.launch({
        executablePath,
        args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'],
      });
      const session = await browser.target().createCDPSession();
      await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads });
      return browser;
    },
  },
  {
    name: 'Firefox',
    paths: [process.env.DISPATCH_LAYOUT_FIREFOX ?? '/usr/bin/firefox-esr', '/usr/bin/firefox'],
    launch: (executablePath, downloads) =>
      puppeteer.launch({
        browser: 'firefox',
        executablePath,
        extraPrefsFirefox: {
          'browser.download.folderList': 2,
          'browser.download.dir': downloads,
          'browser.download.useDownloadDir': true,
          'browser.download.always_ask_before_handling_new_types': false,
        },
      }),
  },
];

/** Where a browser is installed, or undefined. */
export function pathOf({ paths }: BrowserKind): string | undefined {
  return paths.find((path) => existsSync(path));
}

/** A page that must say nothing on its console, and ask nobody for anything. */
export class WatchedPage {
  readonly page: Page;
  /** What it said or asked for. */
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('console', (message) => this.complaints.push(`console: ${message.text()}`));
    page.on('pageerror', (error) => this.complaints.push(`error: ${(error as Error).stack ?? error}`));
    page.on('request', (request) => {
      if (!/^(file|data|blob):/.test(request.url())) this.complaints.push(`request: ${request.url()}`);
    });
  }

  /** Opens a page of the disk. */
  static async open(browser: Browser, url: string): Promise<WatchedPage> {
    const watched = new WatchedPage(await browser.newPage());
    await watched.page.setViewport({ width: 1200, height: 900 });
    await watched.page.goto(url);
    return watched;
  }

  /** The text of an element. */
  text(selector: string): Promise<string> {
    return this.page.$eval(selector, (element) => element.textContent ?? '');
  }

  /** Waits until an element has a text. */
  async expectText(selector: string, pattern: RegExp): Promise<void> {
    const { source, flags } = pattern;
    const condition = (from: string, source_: string, flags_: string): boolean =>
      new RegExp(source_, flags_).test(document.querySelector(from)?.textContent ?? '');
    await this.page
      .waitForFunction(condition, { timeout: 30_000 }, selector, source, flags)
      .catch(async () =>
        Promise.reject(new Error(`${selector} says "${await this.text(selector)}", and not ${pattern}`)),
      );
  }

  /** Scrolls to a picture, since those out of sight are not drawn, and waits until its caption says something. */
  async expectCaption(id: string, pattern: RegExp): Promise<void> {
    await this.page.$eval(`#${id}`, (element) => element.scrollIntoView());
    await this.expectText(`#${id} p`, pattern);
  }

  /** Waits for the drawing of a picture. */
  async picture(id: string): Promise<void> {
    // Before there is a capture, there is nothing to scroll to
    await this.page.waitForSelector('#pictures:not([hidden])', { timeout: 30_000 });
    await this.page.$eval(`#${id}`, (element) => element.scrollIntoView());
    await this.page.waitForSelector(`#plot-${id} svg.chart`, { timeout: 30_000 });
  }

  /** Chooses files, as the dialog of the browser would. */
  async choose(selector: string, ...paths: string[]): Promise<void> {
    const input = (await this.page.$(selector)) as unknown as { uploadFile(...paths: string[]): Promise<void> };
    await input.uploadFile(...paths);
  }

  /** Types a value into a field, in place of what is there. */
  async type(selector: string, value: string): Promise<void> {
    await this.page.$eval(
      selector,
      (element, value_) => {
        (element as HTMLInputElement).value = value_;
        element.dispatchEvent(new Event('input', { bubbles: true }));
      },
      value,
    );
  }

  /** Clicks a button of a picture, and returns what it saves. */
  async save(id: string, label: 'Save SVG' | 'Save JSON', downloads: string): Promise<string> {
    return this.saved(downloads, async () => {
      await this.page.$eval(`#${id} button[aria-label^="${label}"]`, (button) => (button as HTMLElement).click());
    });
  }

  /** The numbers of a picture, as they are saved. */
  async data(id: string, downloads: string): Promise<ReturnType<typeof JSON.parse>> {
    const { picture, data } = JSON.parse(await this.save(id, 'Save JSON', downloads));
    if (picture !== id) throw new Error(`${picture} was saved, and not ${id}`);
    return data;
  }

  /** What is saved while something is done. */
  async saved(downloads: string, act: () => Promise<void>): Promise<string> {
    const before = new Set(readdirSync(downloads));
    await act();
    for (let tries = 0; tries < 200; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const added = readdirSync(downloads).filter((name) => !before.has(name));
      if (added.length === 1 && /\.(json|svg|yaml)$/.test(added[0])) {
        const text = readFileSync(join(downloads, added[0]), 'utf8');
        if (text.length > 0) {
          rmSync(join(downloads, added[0]));
          return text;
        }
      }
    }
    throw new Error(`nothing was saved: ${readdirSync(downloads).join(', ')}`);
  }
}
