// What the benchmark uses of the packages in package.json, which are installed for a benchmark only.
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
