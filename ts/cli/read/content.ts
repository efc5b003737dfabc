/**
 * What a file is read for, in the words of messages.
 *
 * @module
 */

/** The words for one kind of file. */
export interface Content {
  /** What its numbers are. */
  readonly numbers: string;
  /** Its dimensions. */
  readonly dimensions: string;
  /** What it is called where Python code saves it. */
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
