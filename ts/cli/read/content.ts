/**
 * The two purposes for which a file is read, and the words of messages that depend on them.
 *
 * @module
 */

/** The words for one kind of file. */
export interface Content {
  /** What its numbers are called. */
  readonly numbers: string;
  /** Its dimensions. */
  readonly dimensions: string;
  /** The name of the variable in the Python code of remedies. */
  readonly variable: string;
  /** What to do about a file of floating-point numbers. */
  readonly floatRemedy: string;
  /** What to do about an archive of several arrays. */
  readonly choiceRemedy: string;
}

/** The experts of each token. */
export const routingContent: Content = {
  numbers: 'expert ids',
  dimensions: '[layers, tokens, topk]',
  variable: 'topk_idx',
  floatRemedy: 'save the ids that top-k returns, not the scores, or convert them with .astype(numpy.int64)',
  choiceRemedy: 'choose one with --array NAME',
};

/** The rank of each expert. */
export const placementContent: Content = {
  numbers: 'ranks',
  dimensions: '[experts]',
  variable: 'placement',
  floatRemedy: 'convert them with .astype(numpy.int64)',
  choiceRemedy: 'save the placement alone, as .npy',
};
