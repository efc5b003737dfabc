/**
 * The page of pictures as a file: the page of the package, with a capture in it or without one.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import type { Capture } from '../../capture/capture.ts';
import { Collector } from '../../capture/collector.ts';
import { writePageData } from '../../capture/document.ts';
import type { Settings } from '../../capture/settings.ts';
import { denseIn } from '../../findings/find.ts';
import type { Finding } from '../../findings/finding.ts';
import type { RoutingLayout } from '../compute/layout.ts';
import { failOnSystemError } from '../fail.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { WholeFile } from './whole-file.ts';

/** How many ids a page holds: it is then a few megabytes long, and can be mailed. */
const maxIds = 2 ** 22;

/** A page with a capture, while it is made. */
export class PageFile {
  readonly #path: string;
  #file: WholeFile | null = null;
  #collector: Collector | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Creates the file, so that a name that cannot be written is found before anything is computed.
   *
   * @returns what keeps tokens for the page.
   */
  collect({ routing, chosen }: ChosenRouting, numExperts: number, emptyId: number | bigint | undefined): Collector {
    const { tokens: numTokens, topk: numTopk } = routing;
    this.#file = WholeFile.create(this.#path);
    this.#collector = new Collector({ numLayers: chosen.length, numTokens, numTopk, numExperts, emptyId, maxIds });
    return this.#collector;
  }

  /** Writes the page, after all tokens have been collected. */
  finish(layout: RoutingLayout, findings: readonly Finding[], settings: Settings): void {
    if (this.#file === null || this.#collector === null) throw new Error('nothing was collected');
    const { json, bytes } = writePageData({ capture: captureOf(layout, this.#collector, findings), settings });
    const texts = { data: json, bytes: gzipSync(bytes).toString('base64') };
    let page = readPage();
    for (const [id, text] of Object.entries(texts)) {
      // A function, since `$` has a meaning in replacements that are texts
      page = page.replace(new RegExp(`<script id="${id}" type="[a-z/-]+">(?=</script>)`), (tag) => tag + text);
    }
    this.#file.write(0, Buffer.from(page));
    this.#file.finish();
  }

  /** Removes the file unless it is finished. */
  discard(): void {
    this.#file?.discard();
  }
}

/** Writes the page without data, into which files are dropped. */
export function writeEmptyPage(path: string): void {
  const page = readPage();
  const file = WholeFile.create(path);
  try {
    file.write(0, Buffer.from(page));
    file.finish();
  } finally {
    file.discard();
  }
}

/** The page of the package, which the build puts beside the program. */
function readPage(): string {
  try {
    return readFileSync(new URL('./report.html', import.meta.url), 'utf8');
  } catch (error) {
    return failOnSystemError('read', 'report.html of the package', error);
  }
}

function captureOf(
  { routing: { routing, name, chosen, layers }, layers: counts, numExperts, observer }: RoutingLayout,
  { numKept, keepEvery, ids, runs }: Collector,
  findings: readonly Finding[],
): Capture {
  const { format, producer, idType, axes, axesBecause, ranks, tokens, topk, tokensOfLayer } = routing;
  return {
    name,
    format,
    producer,
    idType,
    axes,
    axesBecause,
    ranks,
    layers,
    numLayers: chosen.length,
    numTokens: tokens,
    tokensOfLayer: tokensOfLayer === null ? null : chosen.map((layer) => tokensOfLayer[layer]),
    dense: denseIn(observer.layers, topk),
    numTopk: topk,
    numExperts,
    findings,
    numKept,
    keepEvery,
    counts: counts.map(({ numTokensPerExpert }) => numTokensPerExpert),
    runs,
    ids,
  };
}
