/**
 * The choice of the instance of the kernel that computes a request.
 *
 * @module
 */
import type { Partition } from '../../input/partition.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { LayoutComputation, MaskForm } from '../../layout/outputs.ts';
import { WasmKernel } from './kernel.ts';
import { type KernelPartition, type MoreBuffers, passing, placeBuffers, type Windows } from './memory.ts';

/**
 * A partition whose tables need more memory than this gets an instance of its own, which is collected together with the
 * partition.
 */
const maxSharedBytes = 16 * 1024 * 1024;

/** Windows with 16 to 32 MiB of positions, so that all ids of a large layout can be located at once. */
const locatingMany: Windows = { ...passing, locatedIds: 8 * 1024 * 1024 };

let shared: WasmKernel | undefined;
/**
 * The instance with these windows; null if it could not be made. The library does not try again, since the engine would
 * then collect garbage in every large call to find memory, which takes 70 ms.
 */
let roomy: WasmKernel | null | undefined;
const ownKernels = new WeakMap<KernelPartition, WasmKernel>();
const withBitRows = new WeakMap<Partition, KernelPartition>();

/**
 * The partition of a layout for the kernel, whose tables also depend on the form of rows. If no mask is wanted, nobody
 * reads the rows.
 */
export function kernelPartition(partition: Partition, mask: MaskForm): KernelPartition {
  if (mask !== 'bits') return partition;
  const known = withBitRows.get(partition);
  if (known !== undefined) return known;
  const made = { ...partition, mask } as const;
  withBitRows.set(partition, made);
  return made;
}

/**
 * The instance that groups share. Changing from one group to another rebuilds a table, which takes about a microsecond
 * for 256 experts.
 *
 * @throws what compiling throws if WebAssembly, its SIMD, or compiling is not available.
 */
export function sharedKernel(): WasmKernel {
  shared ??= new WasmKernel();
  return shared;
}

/**
 * Returns an instance that holds the tables of the request's partition, for its layout.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function kernelFor(request: LayoutRequest, { mask }: LayoutComputation): WasmKernel {
  const { numTokens, numTopk } = request;
  const partition = kernelPartition(request.partition, mask);
  const numIds = numTokens * numTopk;
  if (shared?.holds(partition, numTopk) && numIds <= shared.windows.locatedIds) return shared;
  const own = ownKernels.get(partition);
  if (own?.holds(partition, numTopk)) return own;
  const kernel = sharedKernel();
  // A partition that was placed in the shared instance before is small enough
  const isSmall = kernel.knows(partition, numTopk) || footprint(partition, numTopk) <= maxSharedBytes;
  if (own !== undefined || !isSmall) return ownKernel(partition, numTopk);
  if (mustCheckFirst(request) && numIds > kernel.windows.locatedIds) {
    const other = roomyKernel(partition, numIds, numTopk);
    if (other !== null) return other;
  }
  kernel.use(partition, numTopk);
  return kernel;
}

/**
 * Returns an instance that holds the tables of the request's partition and has more buffers, of whichever form its masks
 * are.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function kernelWith(more: MoreBuffers, { partition, numTopk }: LayoutRequest): WasmKernel {
  if (shared?.windows.more === more && shared.holds(partition, numTopk)) return shared;
  const ofBits = withBitRows.get(partition);
  const form = ofBits !== undefined && shared?.holds(ofBits, numTopk) ? ofBits : partition;
  const own = ownKernels.get(form);
  const isSmall = sharedKernel().knows(form, numTopk) || footprint(form, numTopk) <= maxSharedBytes;
  const kernel = own !== undefined || !isSmall ? ownKernel(form, numTopk) : sharedKernel();
  if (kernel.windows.more !== more) kernel.windows = { ...kernel.windows, more };
  kernel.use(form, numTopk);
  return kernel;
}

/**
 * Whether nothing may be written before all ids are known to be valid. This does not concern new arrays, which nobody
 * sees if the call throws.
 */
export function mustCheckFirst({ isStrict, isOutGiven }: LayoutRequest): boolean {
  return isStrict && isOutGiven;
}

/** The bytes of memory that layouts of this partition and `numTopk` need. */
function footprint(partition: KernelPartition, numTopk: number): number {
  return placeBuffers(0, partition, numTopk, passing).end;
}

/**
 * The instance in which all ids of a large layout can be located at once; null if there are too many even for it, or if
 * memory is short. The ids are then checked in a pass of their own, which takes longer.
 */
function roomyKernel(partition: KernelPartition, numIds: number, numTopk: number): WasmKernel | null {
  if (numIds > locatingMany.locatedIds) return null;
  if (roomy === undefined) roomy = anotherKernel(locatingMany);
  try {
    roomy?.use(partition, numTopk);
    return roomy;
  } catch {
    return null;
  }
}

function ownKernel(partition: KernelPartition, numTopk: number): WasmKernel {
  let kernel = ownKernels.get(partition);
  if (kernel === undefined) {
    kernel = anotherKernel() ?? sharedKernel();
    ownKernels.set(partition, kernel);
  }
  kernel.use(partition, numTopk);
  return kernel;
}

/**
 * Makes another instance besides the shared one; null if that fails. An engine reserves up to 10 GB of address space
 * for each instance, however little memory it needs, and the address space of a process may be limited to a few of
 * these (`ulimit -v`).
 */
export function anotherKernel(windows?: Windows): WasmKernel | null {
  try {
    return new WasmKernel(windows);
  } catch {
    return null;
  }
}
