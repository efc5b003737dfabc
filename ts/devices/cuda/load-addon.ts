/**
 * Finds and loads the CUDA addon, a prebuilt file beside the JavaScript. If that fails, the report has one part for
 * each place that was tried.
 *
 * @module
 */
import type { Obstacle } from '../../errors/availability.ts';
import type { CudaAddon } from './addon.ts';
import { type AddonError, translate } from './cuda-error.ts';
import { checkWhole } from './elf-file.ts';

/** The version of the addon's interface. It must be equal to `kInterfaceVersion` in `cuda/addon/addon.cpp`. */
const interfaceVersion = 8;

/** The addon, or the reason why there is none. */
export type AddonSearch =
  | { readonly addon: CudaAddon; readonly path: string }
  | ({ readonly addon: undefined } & Obstacle);

type Require = NodeJS.Require;

/** A place where the addon was not found, or could not be loaded. */
interface Failure {
  readonly path: string;
  readonly cause: unknown;
}

const fileName = 'dispatch_layout_cuda.node';

/** The platforms for which the package contains an addon. */
const prebuiltPlatforms = ['linux-x64', 'linux-arm64'];

/**
 * Looks for the addon, and loads it. This touches nothing of CUDA.
 *
 * @param addonPath if it is given, the only place where the addon is looked for.
 */
export function loadAddon(addonPath: string | undefined): AddonSearch {
  const { createRequire } =
    (globalThis as { process?: NodeJS.Process }).process?.getBuiltinModule?.('node:module') ?? {};
  if (createRequire === undefined) {
    return {
      addon: undefined,
      code: 'ADDONS_FORBIDDEN',
      reason: 'this runtime loads no Node-API addons',
      remedy: 'Use Node.js 20.16 or later, Bun or Deno.',
    };
  }
  const platform = platformName();
  if (addonPath === undefined && !prebuiltPlatforms.includes(platform)) {
    return {
      addon: undefined,
      code: 'UNSUPPORTED_PLATFORM',
      reason: `there is no prebuilt CUDA addon for ${platform}, only for linux-x64 and linux-arm64 with glibc`,
      remedy:
        "Use device: 'wasm' or 'auto', or build the addon (cuda/build.sh) and name it in DISPATCH_LAYOUT_CUDA_ADDON.",
    };
  }

  const here = placeOfThis();
  const require = createRequire(here ?? `${process.cwd()}/`);
  let paths: readonly string[];
  if (addonPath !== undefined) paths = [addonPath];
  else if (here !== undefined) paths = candidatePaths(require, here, platform);
  else {
    return {
      addon: undefined,
      code: 'ADDON_MISSING',
      reason: 'this bundle cannot tell where its own file is, and so cannot find the CUDA addon',
      remedy: 'Keep dispatch-layout external when bundling, or name the addon in DISPATCH_LAYOUT_CUDA_ADDON.',
    };
  }

  const failures: Failure[] = [];
  for (const path of paths) {
    try {
      checkWhole(require.resolve(path));
      const found = require(path) as Partial<CudaAddon>;
      if (found.interfaceVersion !== interfaceVersion) {
        throw new Error(
          `it is of another version of dispatch-layout (interface ${found.interfaceVersion ?? 'unknown'}, not ${interfaceVersion})`,
        );
      }
      return { addon: translated(found as CudaAddon), path };
    } catch (cause) {
      failures.push({ path, cause });
    }
  }
  return unloadable(failures, addonPath !== undefined);
}

/** The path of this file, or of the bundle that it is a part of; undefined if it cannot be found out. */
function placeOfThis(): string | undefined {
  // Bundlers that turn an ES module into CommonJS leave `import.meta` empty. CommonJS has `__filename` instead
  const place: string | undefined = import.meta.url ?? (typeof __filename === 'string' ? __filename : undefined);
  return place?.startsWith('file:') ? process.getBuiltinModule('node:url').fileURLToPath(place) : place;
}

/** The name of the platform, such as `linux-x64` or `linux-x64-musl`. */
function platformName(): string {
  const name = `${process.platform}-${process.arch}`;
  return process.platform === 'linux' && isMusl() ? `${name}-musl` : name;
}

function isMusl(): boolean {
  // A report takes 4 ms, so it is made only if musl's loader is installed
  const { readdirSync } = process.getBuiltinModule('node:fs');
  try {
    if (!readdirSync('/lib').some((name) => name.startsWith('ld-musl-'))) return false;
  } catch {
    // Reading the folder was denied, as by Deno without --allow-read. The report may still be allowed
  }
  const { report } = process as { report?: NodeJS.ProcessReport & { excludeNetwork?: boolean } };
  if (report === undefined) return false;
  // The network part is left out, since it makes the report ask name servers
  const { excludeNetwork } = report;
  report.excludeNetwork = true;
  try {
    const { header, sharedObjects = [] } = report.getReport() as {
      header?: { glibcVersionRuntime?: string };
      sharedObjects?: readonly string[];
    };
    return header?.glibcVersionRuntime === undefined && sharedObjects.some((path) => path.includes('ld-musl-'));
  } catch {
    // Deno denies the report without --allow-sys. If this is musl after all, the attempt to load the addon says so
    return false;
  } finally {
    if (excludeNetwork !== undefined) report.excludeNetwork = excludeNetwork;
  }
}

function candidatePaths(require: Require, here: string, platform: string): readonly string[] {
  const { dirname, join } = process.getBuiltinModule('node:path');
  const folder = `prebuilds/${platform}/${fileName}`;
  // The addon is beside dist/node.cjs. If this is a part of a bundle, the addon may be beside the bundle, or else in
  // the installed package. Nothing is looked for outside the bundle's folder, where anybody may have put it. The path
  // is not made by `new URL(…, import.meta.url)`, since webpack would then add every file of the package
  const paths = [join(dirname(here), folder)];
  try {
    const installed = require.resolve('dispatch-layout/package.json');
    paths.push(installed.replace(/package\.json$/, `dist/${folder}`));
  } catch {
    // The package is not installed, so there is only the first place
  }
  return [...new Set(paths)];
}

function unloadable(failures: readonly Failure[], isOverride: boolean): AddonSearch {
  const causes = failures.map(({ path, cause }) => `${path}: ${firstLine(cause)}`);
  const reason = `the CUDA addon cannot be loaded (${causes.join('; ')})`;
  const cause =
    failures.length === 1
      ? failures[0].cause
      : new AggregateError(
          failures.map((each) => each.cause),
          reason,
        );
  return { addon: undefined, reason, ...explain(failures, isOverride), cause };
}

function explain(failures: readonly Failure[], isOverride: boolean): Pick<Obstacle, 'code' | 'remedy'> {
  const has = (test: (code: unknown, message: string) => boolean) =>
    failures.some(({ cause }) => test((cause as { code?: unknown } | null)?.code, firstLine(cause)));
  if (has((code) => code === 'ERR_DLOPEN_DISABLED')) {
    return {
      code: 'ADDONS_FORBIDDEN',
      remedy: 'Run Node.js without --no-addons and, under its permission model, with --allow-addons.',
    };
  }
  if (failures.some(({ cause }) => cause instanceof Error && cause.name === 'NotCapable')) {
    return { code: 'ADDONS_FORBIDDEN', remedy: 'Run Deno with --allow-ffi, --allow-read and --allow-env.' };
  }
  const isMissing = failures.every(({ cause }) => (cause as { code?: unknown } | null)?.code === 'MODULE_NOT_FOUND');
  const code = isMissing ? 'ADDON_MISSING' : 'ADDON_BROKEN';
  if (isOverride) return { code, remedy: 'Correct or unset DISPATCH_LAYOUT_CUDA_ADDON.' };
  if (isMissing) {
    return {
      code,
      remedy:
        "Install the package as it is published, or build the addon (cuda/build.sh, needs CUDA's nvcc); in a bundle, keep dispatch-layout external.",
    };
  }
  if (has((_, message) => /GLIBC/.test(message))) {
    return { code, remedy: 'Update the system: glibc 2.34 or later is needed.' };
  }
  return { code, remedy: 'Reinstall dispatch-layout, or build the addon anew (cuda/build.sh).' };
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];
}

/** Returns the addon with functions that throw the errors of this library. */
function translated(addon: CudaAddon): CudaAddon {
  const functions = Object.entries(addon).map(([name, value]) => [
    name,
    typeof value === 'function' ? guard(value) : value,
  ]);
  return Object.fromEntries(functions) as CudaAddon;
}

/** No function of the addon takes more arguments than these. A rest parameter would make an array in every call. */
type Arguments = [first?: unknown, second?: unknown, third?: unknown, fourth?: unknown];

function guard<Result>(call: (...values: Arguments) => Result) {
  return (...[first, second, third, fourth]: Arguments): Result => {
    try {
      return call(first, second, third, fourth);
    } catch (error) {
      throw translate(error as AddonError);
    }
  };
}
