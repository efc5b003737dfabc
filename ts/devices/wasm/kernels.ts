/**
 * Which instance of the kernel computes a request.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { WasmKernel } from './kernel.ts';
import { passing, placeBuffers, type Windows } from './memory.ts';

/** A partition whose tables need more memory than this gets an instance of its own, which is collected together with it. */
const maxSharedBytes = 16 * 1024 * 1024;

/** With 16 to 32 MiB of positions, so that all ids of a large layout can be located at once. */
const locatingMany: Windows = { ...passing, locatedIds: 8 * 1024 * 1024 };

let shared: WasmKernel | undefined;
let roomy: WasmKernel | undefined;
const ownKernels = new WeakMap<Partition, WasmKernel>();

/**
 * The instance that groups share: changing between them rebuilds a table, about a microsecond for 256 experts.
 *
 * @throws what compiling throws where WebAssembly, its SIMD, or compiling is not available.
 */
export function sharedKernel(): WasmKernel {
  shared ??= new WasmKernel();
  return shared;
}

/**
 * An instance that holds the tables of the request's partition.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function kernelFor(request: LayoutRequest): WasmKernel {
  const { partition, numTokens, numTopk } = request;
  const numIds = numTokens * numTopk;
  if (shared?.holds(partition, numTopk) && numIds <= shared.windows.locatedIds) return shared;
  const own = ownKernels.get(partition);
  if (own?.holds(partition, numTopk)) return own;
  const kernel = sharedKernel();
  // What was placed in the shared instance before is small enough
  const isSmall = kernel.knows(partition, numTopk) || footprint(partition, numTopk) <= maxSharedBytes;
  if (own !== undefined || !isSmall) return ownKernel(partition, numTopk);
  if (mustCheckFirst(request) && numIds > kernel.windows.locatedIds) {
    const other = roomyKernel(partition, numIds, numTopk);
    if (other !== undefined) return other;
  }
  kernel.use(partition, numTopk);
  return kernel;
}

/** Whether nothing may be written before all ids are known to be valid. New arrays do not matter: nobody sees them if the call throws. */
export function mustCheckFirst({ isStrict, isOutGiven }: LayoutRequest): boolean {
  return isStrict && isOutGiven;
}

/** Bytes of memory that layouts of this partition and width need. */
function footprint(partition: Partition, numTopk: number): number {
  return placeBuffers(0, partition, numTopk, passing).end;
}

/** Where all ids of a large layout can be located at once; undefined where they are still more, or memory is short. */
function roomyKernel(partition: Partition, numIds: number, numTopk: number): WasmKernel | undefined {
  if (numIds > locatingMany.locatedIds) return undefined;
  try {
    roomy ??= new WasmKernel(locatingMany);
    roomy.use(partition, numTopk);
    return roomy;
  } catch {
    // The ids are then checked in a pass of their own, which takes longer
    return undefined;
  }
}

function ownKernel(partition: Partition, numTopk: number): WasmKernel {
  let kernel = ownKernels.get(partition);
  if (kernel === undefined) {
    kernel = instantiate(footprint(partition, numTopk));
    ownKernels.set(partition, kernel);
  }
  kernel.use(partition, numTopk);
  return kernel;
}

function instantiate(bytes: number): WasmKernel {
  try {
    return new WasmKernel();
  } catch (cause) {
    throw new DispatchLayoutError('OUT_OF_MEMORY', `no memory for a WASM instance with tables of ${bytes} bytes`, {
      value: bytes,
      remedy: "Drop groups that are no longer needed, or use device: 'js'.",
      cause,
    });
  }
}
