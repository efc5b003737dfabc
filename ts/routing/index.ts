/**
 * Reads the routing files of Mixture-of-Experts models: the ids of the experts that tokens select, in the formats that
 * people have. {@link openRouting} says what is in a file, and reads it piece by piece. {@link openRoutingOrCounts} also
 * reads files that have only how often each expert was selected.
 *
 * @module
 */
export type { FormatName } from './contents.ts';
export type { ExpertCounts } from './expert-counts.ts';
export type { OpenRoutingOptions, RoutingSource } from './open-contents.ts';
export {
  type IdPiece,
  openRouting,
  openRoutingOrCounts,
  type PiecesOptions,
  type Routing,
  type RoutingDescription,
} from './open-routing.ts';
export type { ReadOptions } from './read-options.ts';
export { RoutingError, type RoutingErrorCode, type RoutingErrorDetails } from './routing-error.ts';
