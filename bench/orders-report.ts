/**
 * The section of `docs/benchmarks.md` on orders of rows.
 *
 * @module
 */
import type { Entry, OrderResults, Results } from './results.ts';
import { numProcessesOf, pythonTable, ratiosTable, table, variantsTable } from './tables.ts';
import { names } from './variants/names.ts';

/** The whole section. */
export function ordersSection({ machine, orders }: Results): string {
  const { byExpert, byRank, byExpertInPython, byRankInPython } = orders;
  return `## Orders of rows

\`getExpertPermutation\` and \`getRankPermutation\` ([Orders of rows](permutations.md)), without padding. ${numProcessesOf(byExpert)} processes
measured them on ${orders.date.slice(0, 10)}, ${numProcessesOf(byExpertInPython)} of them also in Python. ${machineNote(machine, orders.machine)}

${Object.entries(orders.variants)
  .map(([name, description]) => `- **${name}**: ${description}.`)
  .join('\n')}
- **${names.layoutKernel}** and **${names.layoutCall}**: the layout of the same ids, as above, measured in turn with the orders.

### By expert

The order does not depend on the ranks, but the layout beside it does. Nanoseconds per token:

${variantsTable(byExpert)}

The time of the first variant of each column, divided by that of the second (medians of the ratios within each process):

${orderRatiosTable(byExpert)}

### By rank

Nanoseconds per token:

${variantsTable(byRank)}

The same ratios:

${orderRatiosTable(byRank)}

### The same orders in Python

Microseconds per order, with all four arrays; in brackets is how many times as long as \`${names.call}\` that is. By expert:

${pythonTable(byExpertInPython)}

By rank:

${pythonTable(byRankInPython)}

${orderPythonNotes(byExpertInPython)}`;
}

/** In what the machine of the orders differs from that of the layouts. */
function machineNote(ofLayouts: Results['machine'], ofOrders: OrderResults['machine']): string {
  const differences = Object.entries(ofOrders).filter(([name, value]) => ofLayouts[name] !== value);
  if (differences.length === 0) return 'The machine is that of the first table.';
  return `The machine is that of the first table, except:\n\n${table(['', ''], differences)}`;
}

function orderPythonNotes(entries: readonly Entry[]): string {
  const rows = Object.keys(entries[0].seconds);
  return [
    rows.includes('numpy')
      ? '- **numpy** sorts 16-bit ids by expert, since its stable sort of these is a radix sort. By rank, it writes the first slot of\n' +
        '  each token for each rank to a table, and reads the table rank by rank.'
      : '- **numpy** is not installed here, or Python itself is not, so its row is missing.',
    rows.includes('PyTorch')
      ? '- **PyTorch** does the same, with `torch.sort(stable=True)`.'
      : '- **PyTorch** is not installed here, or numpy is not, so its rows are missing.',
  ].join('\n');
}

/** How many times as long as another a variant of an order takes. */
export function orderRatiosTable(entries: readonly Entry[]): string {
  return ratiosTable(entries, 'times', [
    [names.kernel, names.layoutKernel],
    [names.call, names.layoutCall],
    [names.kernel, names.native],
    [names.plainOnly, names.kernel],
    [names.plainOnly, names.workspace],
    [names.plainOnly, names.call],
    [names.plainOnly, names.newArrays],
  ]);
}
