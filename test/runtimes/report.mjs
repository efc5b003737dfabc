/**
 * Shows the results as a table of runtimes and devices. Below it are the reasons why cells were skipped, and the failures.
 *
 * @module
 */

/** Collects cells, one for each runtime and device. A cell has passed, failed or been skipped. */
export class Report {
  #rows = [];

  /** Adds the results of the suite in one runtime. */
  addResults(name, results, seconds) {
    // A failure that belongs to no device makes all cells of the row fail.
    const common = results.filter((each) => each.name === '').flatMap((each) => each.failed);
    const cells = results
      .filter((each) => each.name !== '')
      .map(({ name: group, passed, skipped, failed }) => ({
        column: group.replace(/^on /, ''),
        ...cellOf(passed, skipped, [...failed, ...common]),
      }));
    this.#rows.push({ name, cells: cells.length > 0 ? cells : [{ column: '', ...noTests }], seconds });
  }

  /** Adds a row with a single outcome. */
  addRow(name, cell, seconds) {
    this.#rows.push({ name, cells: [{ column: '', ...cell }], seconds });
  }

  count(outcome) {
    return this.#rows.flatMap(({ cells }) => cells).filter((cell) => cell.outcome === outcome).length;
  }

  toString() {
    const cells = this.#rows.flatMap((row) => row.cells.map((cell) => ({ row, ...cell })));
    const columns = [...new Set(cells.map(({ column }) => column))].sort((a, b) => Number(a !== '') - Number(b !== ''));
    const notes = [...new Set(cells.flatMap(({ reason }) => reason ?? []))];
    const text = ({ outcome, detail, reason }) =>
      (outcome === 'skipped' ? `skipped [${notes.indexOf(reason) + 1}]` : detail) ?? outcome;
    const table = [
      ['', ...columns, ''],
      ...this.#rows.map(({ name, cells: own, seconds }) => {
        const shown = columns.map((column) => {
          const cell = own.find((each) => each.column === column);
          return cell === undefined ? '' : text(cell);
        });
        return [name, ...shown, seconds === undefined ? '' : `${seconds.toFixed(1)} s`];
      }),
    ];
    return [
      ...aligned(table),
      ...(notes.length > 0 ? ['', ...notes.map((note, index) => `[${index + 1}] ${note}`)] : []),
      ...cells
        .filter(({ outcome }) => outcome === 'failed')
        .flatMap(({ row, column, failures }) => ['', `FAILED: ${row.name} ${column}`, ...failures]),
    ].join('\n');
  }
}

const noTests = { outcome: 'failed', detail: 'FAILED', failures: ['it ran no tests'] };

/** The cell of a row that failed as a whole. */
export function failedCell(error) {
  return { outcome: 'failed', detail: 'FAILED', failures: [error instanceof Error ? error.message : String(error)] };
}

function cellOf(passed, skipped, failed) {
  if (passed + skipped.length + failed.length === 0) return noTests;
  if (failed.length > 0) return { outcome: 'failed', detail: `${failed.length} FAILED`, failures: failed.slice(0, 5) };
  if (passed === 0) return { outcome: 'skipped', reason: skipped[0] };
  return { outcome: 'passed', detail: `${passed} passed` };
}

function aligned(table) {
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
}
