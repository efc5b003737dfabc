/**
 * How many replicas each expert gets.
 *
 * @module
 */

/** The replicas of experts, in the order in which they were added. */
export interface Replication {
  /** `[numReplicas]`: the expert of each replica. The first `numExperts` are the experts themselves. */
  readonly expertOf: Int32Array;
  /** `[numReplicas]`: the number of each replica among those of its expert. */
  readonly numberOf: Int32Array;
  /** `[numExperts]` */
  readonly counts: Int32Array;
}

/**
 * Gives one replica after the other to the expert with the largest load for each replica, or to the first such expert.
 *
 * @param loads `[numExperts]`. With 32-bit floating-point numbers, the quotients are rounded to 32 bits, as in EPLB.
 * @param numReplicas at least the number of experts.
 */
export function replicate(loads: Float32Array | Float64Array, numReplicas: number): Replication {
  const numExperts = loads.length;
  const expertOf = new Int32Array(numReplicas).map((_, replica) => replica);
  const numberOf = new Int32Array(numReplicas);
  const counts = new Int32Array(numExperts).fill(1);
  const share = loads.slice();
  for (let replica = numExperts; replica < numReplicas; replica++) {
    let expert = 0;
    for (let each = 1; each < numExperts; each++) if (share[each] > share[expert]) expert = each;
    expertOf[replica] = expert;
    numberOf[replica] = counts[expert]++;
    share[expert] = loads[expert] / counts[expert];
  }
  return { expertOf, numberOf, counts };
}
