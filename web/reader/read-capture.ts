/**
 * Reads routing files into a capture, piece by piece, in one pass.
 *
 * @module
 */
import { type Capture, mostExperts } from '../../ts/capture/capture.ts';
import { Collector } from '../../ts/capture/collector.ts';
import { findEqualLayers } from '../../ts/findings/equal-layers.ts';
import { denseIn, findAll, findNotes } from '../../ts/findings/find.ts';
import { numExpertsIn } from '../../ts/findings/number-of-experts.ts';
import { Observer } from '../../ts/findings/observer.ts';
import { ExpertGroup } from '../../ts/index.ts';
import { type ExpertCounts, openRoutingOrCounts } from '../../ts/routing/index.ts';
import { type IdType, idTypes } from '../../ts/values/id-types.ts';

/** What is to be read, and how: what is not said is as in the files. */
export interface ReadJob {
  readonly files: readonly File[];
  readonly numExperts?: number | undefined;
  readonly axes?: string | undefined;
  readonly array?: string | undefined;
  readonly numLayers?: number | undefined;
  readonly numTopk?: number | undefined;
  readonly idType?: IdType | undefined;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId?: bigint | undefined;
}

/** How many ids a page keeps: a new number of ranks is then computed in a fraction of a second. */
const maxIds = 2 ** 24;
/**
 * The most bytes of ids in one piece. Browsers take about a millisecond for each piece of a file, so that larger ones are
 * faster here than those that fit in the cache.
 */
const pieceBytes = 2 ** 23;

/**
 * Reads files.
 *
 * @param onProgress is told the share that has been read, from 0 to 1.
 * @throws RoutingError or DispatchLayoutError, with a full sentence.
 */
export async function readCapture(job: ReadJob, onProgress: (share: number) => void): Promise<Capture> {
  const { files, emptyId, axes, array, numLayers, numTopk: topkGiven, idType: typeGiven } = job;
  const numBytes = files.reduce((sum, { size }) => sum + size, 0);
  let numRead = 0;
  // Files of text are read as a whole while they are opened; of others, little is
  const shareOfOpening = (): number => (numBytes === 0 ? 0 : Math.min(0.9, numRead / numBytes));
  const onRead = (count: number): void => {
    numRead += count;
    onProgress(shareOfOpening());
  };
  const options = { axes, array, numLayers, numTopk: topkGiven, idType: typeGiven, onRead };
  const opened = await openRoutingOrCounts(files, options);
  if (opened.kind === 'counts') return captureOfCounts(opened);
  const routing = opened;
  try {
    const { tokens: numTokens, topk: numTopk, idType } = routing;
    const all = routing.layers.map((_, index) => index);
    const isCounted = job.numExperts === undefined && routing.numExperts === null;
    const whole = numTokens * all.length * (isCounted ? 2 : 1);
    const shareBefore = shareOfOpening();
    let numDone = 0;
    const onPiece = (count: number): void => {
      numDone += count;
      onProgress(shareBefore + ((1 - shareBefore) * numDone) / whole);
    };
    const numExperts = job.numExperts ?? routing.numExperts ?? (await numExpertsIn(routing, all, mostExperts, onPiece));
    const counts = all.map(() => new Float64Array(numExperts));
    const observer = new Observer({ idType, numTopk, numExperts, emptyId }, counts);
    const collector = new Collector({ numLayers: all.length, numTokens, numTopk, numExperts, emptyId, maxIds });
    const workspace = new ExpertGroup({ numRanks: 1 }).createWorkspace({
      numExperts,
      maxTokens: Math.max(
        1,
        Math.min(numTokens, Math.floor(pieceBytes / (idTypes[idType].bytes * Math.max(1, numTopk)))),
      ),
      numTopk,
      idType,
      emptyId,
      invalidExperts: 'ignore',
      mask: 'none',
    });
    for await (const piece of routing.pieces({ into: workspace.topkIdx })) {
      const { numTokensPerExpert } = workspace.run(piece.numTokens);
      const ofLayer = counts[piece.layer];
      for (let expert = 0; expert < numExperts; expert++) ofLayer[expert] += numTokensPerExpert[expert];
      observer.observe(piece.layer, workspace.topkIdx, piece.numTokens, numTokensPerExpert);
      collector.add(piece, workspace.topkIdx);
      onPiece(piece.numTokens);
    }
    const layers = all.length === 1 && !routing.axes.includes('layers') ? null : routing.layers;
    const equalLayers = await findEqualLayers(routing, all, observer.layers);
    return {
      name: routing.files.join(', '),
      format: routing.format,
      producer: routing.producer,
      idType,
      axes: routing.axes,
      axesBecause: routing.axesBecause,
      ranks: routing.ranks,
      layers,
      numLayers: all.length,
      numTokens,
      tokensOfLayer: routing.tokensOfLayer,
      dense: denseIn(observer.layers, numTopk),
      numTopk,
      numExperts,
      findings: findAll({ routing, layers, observer, numExperts, equalLayers }),
      numKept: collector.numKept,
      keepEvery: collector.keepEvery,
      counts,
      runs: collector.runs,
      ids: collector.ids,
    };
  } finally {
    routing.close();
  }
}

/** A capture without tokens. */
function captureOfCounts({ files, format, producer, layers, numExperts, counts, rank, notes }: ExpertCounts): Capture {
  return {
    name: files.join(', '),
    format,
    producer,
    idType: 'none',
    axes: 'layers,experts',
    axesBecause: 'the files hold counts of experts, and no tokens',
    ranks: [rank],
    layers,
    numLayers: layers.length,
    numTokens: 0,
    tokensOfLayer: null,
    dense: [],
    numTopk: 0,
    numExperts,
    findings: findNotes(notes),
    numKept: 0,
    keepEvery: 1,
    runs: layers.map(() => []),
    counts,
    ids: layers.map(() => new Uint8Array(0)),
  };
}
