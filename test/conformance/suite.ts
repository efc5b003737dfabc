/**
 * The conformance suite: one call declares everything that every device must do. It needs the globals `describe` and
 * `it` with `it.skip`, which mocha, Bun and others have. Only `loader.ts` depends on Node.js.
 *
 * @module
 */
import { corners } from './corners.ts';
import { testDevices } from './devices.ts';
import { permutationCorners } from './permutation-corners.ts';
import { permutationProperties } from './permutation-properties.ts';
import { permutationReuse } from './permutation-reuse.ts';
import { properties } from './properties.ts';
import { reuse } from './reuse.ts';
import { sizes } from './sizes.ts';
import { traces } from './traces.ts';
import { orderVectors, vectors, vectorsFile } from './vectors.ts';

/** Declares the whole suite on every device under test. */
export function conformance(): void {
  vectorsFile();
  for (const device of testDevices()) {
    describe(`on ${device.name}`, () => {
      if (device.unavailable === null) {
        corners(device);
        vectors(device);
        sizes(device);
        reuse(device);
        properties(device);
        permutationCorners(device);
        permutationProperties(device);
        permutationReuse(device);
        orderVectors(device);
        traces(device);
      } else if (device.optional) {
        it.skip(`not available here, because ${device.unavailable}`);
      } else {
        it('is available', () => {
          throw new Error(`${device.name} cannot be used, because ${device.unavailable}`);
        });
      }
    });
  }
}
