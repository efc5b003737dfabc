// What the benchmark uses of the packages in package.json, which are installed for a benchmark only.
declare module '@tensorflow/tfjs' {
  interface Tensor {
    dataSync(): Int32Array;
  }
  function setBackend(name: string): Promise<boolean>;
  function tensor1d(values: ArrayLike<number>, type: 'int32'): Tensor;
  function tidy<T>(compute: () => T): T;
  function bincount(values: Tensor, weights: Tensor, size: number): Tensor;
  function dispose(tensors: readonly Tensor[]): void;
}

declare module 'vega' {
  interface Runtime {
    readonly operators: readonly object[];
  }
  function parse(specification: object): Runtime;
  class View {
    constructor(runtime: Runtime, options: { readonly renderer: 'none' });
    toSVG(): Promise<string>;
  }
}

declare module 'vega-lite' {
  function compile(specification: object): { readonly spec: object };
}
