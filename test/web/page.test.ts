/**
 * The page of pictures, in Chromium and in Firefox, as a person uses it: files are chosen and dropped, controls are moved,
 * pictures are saved. Its numbers are compared with those of the command. Skipped where there is no browser.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { assert } from 'chai';
import type { Browser } from 'puppeteer-core';
import { dispatchLayout, expectRefusal, succeed, temporaryFolder } from '../cli/command.ts';
import { root } from '../support/root.ts';
import { browserKinds, pathOf, WatchedPage } from './browsers.ts';

const emptyPage = `${root}dist/report.html`;

/** A document of unknown shape. */
type Json = ReturnType<typeof JSON.parse>;

/** The document that a command prints. */
async function json(...args: string[]): Promise<Json> {
  return JSON.parse(await succeed([...args, '--json']));
}

describe('the page of pictures', function () {
  this.timeout(240_000);
  const folder = temporaryFolder();
  const trace = () => folder.path('trace.npy');
  const size = ['--num-experts', '32', '--num-ranks', '8', '--ranks-per-node', '4'];

  before(async () => {
    const shape = ['--num-tokens', '3000', '--num-topk', '4', '--num-experts', '32', '--layers', '5'];
    await succeed(['generate', trace(), ...shape, '--skew', '0.7', '--seed', '3', '--dtype', 'int16']);
    await succeed([trace(), ...size, '--html', folder.path('report.html')]);
  });

  it('is under 250 kB, and its policy allows its own program and style sheet and nothing else', () => {
    const page = readFileSync(emptyPage, 'utf8');
    assert.isBelow(gzipSync(page, { level: 9 }).length, 250_000);
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page) ?? [];
    const [script] = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map(([, text]) => text);
    const [, style] = /<style>([\s\S]*?)<\/style>/.exec(page) ?? [];
    const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
    assert.strictEqual(
      policy,
      `default-src 'none'; script-src ${hash(script)} 'wasm-unsafe-eval'; style-src ${hash(style)}; ` +
        "img-src data:; worker-src blob:; base-uri 'none'; form-action 'none'",
    );
    assert.notMatch(page.replace(script, ''), /\son\w+=|style=|https?:/);
  });

  it('is written without a file, too, and never over an input', async () => {
    const path = folder.path('empty.html');
    assert.strictEqual(await succeed(['--html', path]), `wrote ${path}\n`);
    assert.strictEqual(readFileSync(path, 'utf8'), readFileSync(emptyPage, 'utf8'));
    const refused: readonly (readonly [readonly string[], RegExp])[] = [
      [[trace(), ...size, '--html', trace()], /--html .*trace\.npy would overwrite the input/],
      [[trace(), ...size, '--html', '-'], /--html takes the name of a file/],
      [[trace(), ...size, '--html', folder.path('none/x.html')], /cannot write .*none\/x\.html/],
      [[trace(), ...size, '--html', 'x', '--out', 'x'], /--out and --html would both write x/],
      [[trace(), '--num-experts', '32', '--num-ranks', '4,8', '--html', 'x'], /--html is for one number of ranks/],
      [
        [trace(), '--num-experts', '32', '--num-ranks', '5', '--invalid-experts', 'ignore', '--html', 'x'],
        /--html shows each expert on a rank, and 32 experts do not divide evenly among 5 ranks; pass --placement linear/,
      ],
    ];
    for (const [args, message] of refused) expectRefusal(await dispatchLayout(args), message, args.join(' '));
  });

  it('holds what a file is called and says as text', async () => {
    const path = folder.path('hostile.html');
    const name = folder.path('<script>alert(1)<!--.npy');
    copyFileSync(trace(), name);
    await succeed([name, ...size, '--html', path]);
    const page = readFileSync(path, 'utf8');
    assert.strictEqual(page.match(/<script/g)?.length, readFileSync(emptyPage, 'utf8').match(/<script/g)?.length);
    assert.notInclude(page, 'alert(1)<');
  });

  it('leaves out the layers that the report leaves out', async () => {
    const path = folder.path('dense.html');
    for (const [id, dense] of [
      [0, [0]],
      // An id that is no expert is no sign of a dense layer
      [99, []],
    ] as const) {
      const layers = [0, 1].map((layer) =>
        Array.from({ length: 50 }, (_, token) =>
          layer === 0 ? [0, token === 7 ? id : 0] : [token % 8, (token + 1) % 8],
        ),
      );
      const file = folder.write('dense.json', JSON.stringify(layers));
      const flags = ['--axes', 'layers,tokens,topk', '--invalid-experts', 'ignore', '--html', path];
      const { layers: counted } = await json(file, '--num-experts', '8', '--num-ranks', '4', ...flags);
      const [, data] =
        /<script id="data" type="application\/json">(.*?)<\/script>/.exec(readFileSync(path, 'utf8')) ?? [];
      assert.deepStrictEqual(JSON.parse(data).capture.dense, dense);
      assert.strictEqual(counted.length, 2 - dense.length);
    }
  });

  for (const kind of browserKinds) {
    describe(`in ${kind.name}`, () => {
      let browser: Browser | undefined;
      let downloads = '';

      before(async function () {
        const path = pathOf(kind);
        if (path === undefined) {
          console.log(`    SKIPPED: there is no ${kind.name} here, and no ${kind.paths[0]}`);
          this.skip();
        }
        downloads = folder.path(`downloads-${kind.name}`);
        mkdirSync(downloads);
        browser = await kind.launch(path, downloads);
      });
      after(() => browser?.close());

      /** Opens a page, and closes it when it has been used. It must have said nothing, and asked nobody. */
      async function using(path: string, use: (page: WatchedPage) => Promise<void>): Promise<void> {
        const watched = await WatchedPage.open(browser as Browser, pathToFileURL(path).href);
        try {
          await use(watched);
          assert.deepStrictEqual(watched.complaints, []);
        } finally {
          await watched.page.close();
        }
      }

      it('shows what the command found, with the same numbers', async () => {
        const path = folder.path('report.html');
        const expected = await json(trace(), ...size, '--html', path);
        await using(path, async (page) => {
          await page.picture('layers-by-ranks');
          const saved = await page.data('layers-by-ranks', downloads);
          assert.deepStrictEqual(
            saved,
            expected.layers.map(({ layer, numTokensPerRank, numTokensPerRdmaRank }: Json) => ({
              layer,
              numTokensPerRank,
              numTokensPerRdmaRank,
            })),
          );
          const experts = await page.data('layers-by-experts', downloads);
          assert.deepStrictEqual(
            experts,
            expected.layers.map(({ layer, numTokensPerExpert }: Json) => ({ layer, numTokensPerExpert })),
          );
          await page.expectText(
            '#summary',
            new RegExp(`ranks per token${expected.total.meanRanksPerToken.toFixed(3)}`),
          );
          await page.expectText(
            '#summary',
            new RegExp(`nodes per token${expected.total.meanNodesPerToken.toFixed(3)}`),
          );
          await page.picture('fan-out');
          const { byRanks } = await page.data('fan-out', downloads);
          const mean = byRanks.reduce((sum: number, tokens: number, ranks: number) => sum + tokens * ranks, 0) / 3000;
          assert.closeTo(mean, expected.layers[0].meanRanksPerToken, 1e-9);
          for (const id of [
            'traffic-between-ranks',
            'traffic-between-nodes',
            'nodes-of-layer',
            'ranks-of-layer',
            'coverage',
            'windows',
          ]) {
            await page.picture(id);
          }
          const { numTokens } = await page.data('traffic-between-ranks', downloads);
          const received = numTokens.reduce(
            (sums: number[], row: number[]) => sums.map((sum, rank) => sum + row[rank]),
            new Array(8).fill(0),
          );
          for (const [rank, tokens] of received.entries()) {
            assert.closeTo(tokens, expected.layers[0].numTokensPerRank[rank], 1e-6);
          }
          await page.picture('balance-over-ranks');
          const { sweep } = await page.data('balance-over-ranks', downloads);
          const swept = await json(trace(), '--num-experts', '32', '--ranks-per-node', '4', '--num-ranks', '4,8,16,32');
          for (const line of swept.sweep) {
            const found = sweep.find(({ numRanks }: Json) => numRanks === line.numRanks);
            assert.deepStrictEqual(found.maxOverMean, line.layers['max/mean'], `${line.numRanks} ranks`);
            assert.closeTo(found.meanRanksPerToken, line.meanRanksPerToken, 1e-9);
          }
        });
      });

      it('judges EPLB as the command does, and saves its plan', async () => {
        const plan = folder.path(`plan-${kind.name}.json`);
        const place = ['place', trace(), ...size, '--redundant', '8', '--window', '256', '-o', plan];
        const expected = await json(...place);
        await using(emptyPage, async (page) => {
          await page.choose('#files', trace());
          await page.picture('layers-by-experts');
          await page.page.select('#placement', 'eplb');
          await page.page.select('#window', '256');
          await page.type('#ranks-per-node', '4');
          await page.page.focus('#redundant');
          await page.page.keyboard.press('ArrowRight');
          await page.expectText('#redundant-number', /^8$/);
          await page.picture('before-and-after');
          await page.expectCaption('before-and-after', /the second half/);
          const saved = await page.data('before-and-after', downloads);
          assert.deepStrictEqual(saved.overLayersBefore, expected.before.layers);
          assert.deepStrictEqual(saved.overLayers, expected.plan.layers);
          assert.deepStrictEqual(saved.overWindowsBefore, expected.before.windows);
          assert.deepStrictEqual(saved.overWindows, expected.plan.windows);
          assert.deepStrictEqual(
            saved.layers.map(({ after }: Json) => after),
            expected.layers.map((layer: Json) => layer.plan.balance),
          );
          const text = await page.saved(downloads, () => page.page.click('#save-plan'));
          assert.strictEqual(text, readFileSync(plan, 'utf8'));
          const svg = await page.save('before-and-after', 'Save SVG', downloads);
          assert.match(svg, /^<svg [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
          assert.notMatch(svg, /var\(--(?!plot)/);
          assert.match(
            svg,
            /<desc>The selections of the busiest rank [^<]*<\/desc>.*<text [^>]*>Before and after<\/text>/,
          );
        });
      });

      it('shows the plan of a report, and says which plans do not fit', async () => {
        const plan = folder.path(`plan-of-report-${kind.name}.json`);
        await succeed(['place', trace(), ...size, '--redundant', '8', '-o', plan]);
        const path = folder.path(`planned-${kind.name}.html`);
        const expected = await json(trace(), ...size, '--placement', plan, '--html', path);
        await using(path, async (page) => {
          await page.picture('layers-by-ranks');
          const saved = await page.data('layers-by-ranks', downloads);
          assert.deepStrictEqual(
            saved.map(({ numTokensPerRank }: Json) => numTokensPerRank),
            expected.layers.map(({ numTokensPerRank }: Json) => numTokensPerRank),
          );
          const broken = folder.write('broken-plan.json', '{"physical_to_logical_map": [[0, 1, 2]]}');
          await page.choose('#plan-file', broken);
          await page.expectText('#misfit', /^broken-plan\.json: .*\b3\b/);
          // The one before is still there
          await page.expectText('#plan-name', /plan-of-report/);
          const other = folder.write('other.json', JSON.stringify([...Array(32).keys()].map((expert) => expert % 4)));
          await page.choose('#plan-file', other);
          await page.expectText('#misfit', /^$/);
          await page.expectText('#plan-name', /^other\.json$/);
          await page.expectCaption('layers-by-ranks', /each of the 8 ranks/);
        });
      });

      it('computes again while a control is dragged, and says what does not fit', async () => {
        await using(emptyPage, async (page) => {
          await page.choose('#files', trace());
          await page.picture('layers-by-ranks');
          await page.page.$eval('#controls', (element) => element.scrollIntoView());
          const slider = await page.page.$('#ranks');
          const box = await slider?.boundingBox();
          assert.isOk(box);
          const middle = box.y + box.height / 2;
          await page.page.mouse.move(box.x + box.width * 0.3, middle);
          await page.page.mouse.down();
          await page.page.mouse.move(box.x + box.width * 0.6, middle);
          await page.page.mouse.move(box.x + box.width - 3, middle);
          await page.expectCaption('layers-by-ranks', /each of the 32 ranks/);
          await page.page.mouse.up();
          const expected = await json(trace(), '--num-experts', '32', '--num-ranks', '32');
          const saved = await page.data('layers-by-ranks', downloads);
          assert.deepStrictEqual(saved[4].numTokensPerRank, expected.layers[4].numTokensPerRank);
          await page.type('#ranks-number', '12');
          await page.expectText('#misfit', /ranks 12 is more than one node of 8 ranks.*ranks per node/);
          await page.type('#ranks-number', '33');
          await page.expectText('#misfit', /from 1 to 32 ranks/);
          await page.type('#ranks-number', '16');
          await page.expectText('#misfit', /^$/);
          await page.type('#experts', '31');
          await page.expectText('#misfit', /from 32 to 65536 experts: expert 31 was selected/);
          await page.type('#experts', '320');
          await page.expectCaption('layers-by-experts', /each of the 320 experts/);
          const wider = await json(trace(), '--num-experts', '320', '--num-ranks', '16');
          const ofWider = await page.data('layers-by-ranks', downloads);
          assert.deepStrictEqual(ofWider[2].numTokensPerRank, wider.layers[2].numTokensPerRank);
          await page.page.select('#placement', 'round_robin');
          await page.page.focus('#layer');
          await page.page.keyboard.press('End');
          await page.expectText('#layer-number', /^4$/);
          await page.picture('ranks-of-layer');
          await page.expectCaption('ranks-of-layer', /in layer 4/);
        });
      });

      it('keeps what fits when files and settings change, and never shows what does not', async () => {
        const ten = folder.path(`ten-${kind.name}.npy`);
        await succeed(['generate', ten, '--num-tokens', '600', '--num-topk', '2', '--num-experts', '10']);
        const plan = folder.write('plan8.json', JSON.stringify([...Array(32).keys()].map((expert) => expert % 8)));
        await using(emptyPage, async (page) => {
          const ranks = async (): Promise<number> =>
            (await page.data('layers-by-ranks', downloads))[0].numTokensPerRank.length;
          await page.choose('#files', trace());
          await page.picture('layers-by-ranks');
          await page.page.select('#placement', 'file');
          await page.expectText('#misfit', /Choose the file of a plan/);
          await page.choose('#plan-file', plan);
          await page.expectText('#misfit', /^$/);
          await page.expectText('#summary', /linear/);
          await page.page.select('#rule', 'nearest');
          await page.page.select('#placement', 'linear');
          await page.type('#ranks-number', '16');
          await page.expectCaption('layers-by-ranks', /each of the 16 ranks/);
          // The plan is of 8 ranks still
          await page.page.select('#placement', 'file');
          await page.expectCaption('layers-by-ranks', /each of the 8 ranks/);
          const { ofRanks, ofRanksBefore } = await page.data('ranks-of-layer', downloads);
          assert.deepStrictEqual([ofRanks.length, ofRanksBefore.length], [8, 8]);
          await page.type('#experts', '40');
          await page.expectText('#misfit', /numPhysicalExperts is 32/);
          assert.isTrue(await page.page.$eval('#pictures', (element) => (element as HTMLElement).hidden));
          await page.type('#experts', '32');
          await page.expectText('#misfit', /^$/);
          assert.isFalse(await page.page.$eval('#pictures', (element) => (element as HTMLElement).hidden));
          await page.page.select('#placement', 'eplb');
          await page.page.select('#rule', 'nearest');
          await page.type('#source-rank', '7');
          await page.type('#ranks-number', '4');
          await page.expectCaption('layers-by-ranks', /each of the 4 ranks/);
          assert.strictEqual(await page.text('#misfit'), '');
          await page.page.select('#placement', 'linear');
          await page.type('#ranks-number', '16');
          await page.expectCaption('layers-by-ranks', /each of the 16 ranks/);
          await page.choose('#files', ten);
          await page.expectText('#facts', /experts10/);
          await page.expectCaption('layers-by-ranks', /each of the 8 ranks/);
          assert.strictEqual(await page.text('#misfit'), '');
          assert.strictEqual(await ranks(), 8);
        });
      });

      it('shows very small captures, and says when there are too many cells', async () => {
        const one = folder.write(`one-${kind.name}.json`, '[[0, 3, 7, 9]]');
        await using(emptyPage, async (page) => {
          await page.choose('#files', one);
          for (const id of ['windows', 'before-and-after', 'balance-over-ranks', 'ranks-of-layer']) {
            await page.picture(id);
            assert.notMatch(await page.text(`#plot-${id}`), /NaN|undefined|Infinity/, id);
          }
          await page.expectCaption('nodes-of-layer', /nothing to show/);
          assert.isTrue(
            await page.page.$eval('#nodes-of-layer button', (button) => (button as HTMLButtonElement).disabled),
          );
          await page.type('#experts', '2048');
          await page.type('#ranks-number', '1024');
          await page.expectCaption('traffic-between-ranks', /1,024 times 1,024 cells are too many/);
          await page.type('#experts', '4096');
          await page.type('#ranks-number', '4096');
          await page.expectText('#misfit', /from 1 to 2048 ranks/);
        });
      });

      it('says of how many tokens it shows ranks, where it does not keep all', async () => {
        const long = folder.path(`long-${kind.name}.npy`);
        const path = folder.path(`long-${kind.name}.html`);
        const shape = ['--num-tokens', '300000', '--num-topk', '6', '--num-experts', '32', '--layers', '3'];
        await succeed(['generate', long, ...shape, '--dtype', 'uint8']);
        await succeed([long, ...size, '--html', path]);
        await using(path, async (page) => {
          await page.expectText('#facts', /keeps 150,016 tokens of each layer/);
          for (const id of [
            'layers-by-ranks',
            'ranks-of-layer',
            'nodes-of-layer',
            'fan-out',
            'traffic-between-ranks',
          ]) {
            await page.picture(id);
            await page.expectCaption(id, /These are 150,016 of the 300,000 tokens\.$/);
          }
          await page.picture('windows');
          await page.page.focus('#plot-windows');
          await page.page.keyboard.press('End');
          // Every other block of 512 tokens is kept
          await page.expectText('#windows .spoken', /^window 35, from token 286,720,/);
        });
      });

      it('says exact numbers to the mouse and to the keyboard', async () => {
        const expected = await json(trace(), ...size);
        await using(emptyPage, async (page) => {
          await page.choose('#files', trace());
          await page.picture('layers-by-experts');
          await page.page.focus('#plot-layers-by-experts');
          await page.page.keyboard.press('Home');
          for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown', 'ArrowLeft'] as const) {
            await page.page.keyboard.press(key);
          }
          const count = expected.layers[1].numTokensPerExpert[1];
          const text = `${count}`.replace(/\B(?=(\d{3})+$)/g, ',');
          await page.expectText('#layers-by-experts .spoken', new RegExp(`^layer 1, expert 1, ${text} selections`));
          await page.expectText('#plot-layers-by-experts svg [aria-label="tip"]', new RegExp(`${text} selections`));
          await page.page.keyboard.press('Escape');
          await page.expectText('#layers-by-experts .spoken', /^$/);
          const chart = await page.page.$('#plot-layers-by-experts svg.chart');
          const box = await chart?.boundingBox();
          assert.isOk(box);
          await page.page.mouse.move(box.x + box.width / 2, box.y + box.height / 3);
          await page.expectText('#plot-layers-by-experts svg [aria-label="tip"]', /layer \d+, expert \d+/);
          // At the foot of a bar, too; and a click does not keep the arrow keys from moving the tooltip
          await page.picture('ranks-of-layer');
          const bars = await (await page.page.$('#plot-ranks-of-layer svg.chart'))?.boundingBox();
          assert.isOk(bars);
          await page.page.mouse.click(bars.x + bars.width / 4, bars.y + bars.height * 0.8);
          await page.expectText('#plot-ranks-of-layer svg [aria-label="tip"]', /rank 1/);
          await page.page.keyboard.press('End');
          await page.expectText('#plot-ranks-of-layer svg [aria-label="tip"]', /rank 7/);
          await page.page.keyboard.press('Escape');
          await page.expectText('#plot-ranks-of-layer svg [aria-label="tip"]', /^$/);
        });
      });

      it('takes files that are dropped, several as one capture, and shows their findings', async () => {
        await using(emptyPage, async (page) => {
          const drop = (names: string[], texts: string[]): Promise<void> =>
            page.page.evaluate(
              (names_: string[], texts_: string[]) => {
                const transfer = new DataTransfer();
                for (const [index, text] of texts_.entries()) transfer.items.add(new File([text], names_[index]));
                const drop = document.querySelector('#drop') as Element;
                for (const type of ['dragover', 'drop']) {
                  drop.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
                }
              },
              names,
              texts,
            );
          const rows = (from: number): string =>
            JSON.stringify(Array.from({ length: 40 }, (_, token) => [(token + from) % 8, (token + from) % 8]));
          const hostile = '<img src=x onerror=alert(1)>.json';
          await drop([hostile, 'rank1.json'], [rows(0), rows(3)]);
          await page.expectText('#facts h2', /^<img src=x onerror=alert\(1\)>\.json, rank1\.json$/);
          await page.expectText('#facts', /tokens80/);
          await page.expectText('#findings', /PADDING.*same expert in every slot/);
          assert.strictEqual(await page.page.$('#facts img'), null);
          assert.match(await page.page.title(), /<img/);
          await drop(['broken.json'], ['[[0, 1], [2']);
          await page.expectText('#problem', /broken\.json/);
          // What was shown before is still there
          await page.expectText('#facts', /tokens80/);
          await drop(['flat.json'], ['[1, 2, 3, 4, 5, 6]']);
          await page.expectText('#problem', /flat\.json/);
        });
      });

      it('knows who sends what where each rank has a file', async () => {
        const files = [0, 1, 2, 3].map((rank) => folder.path(`rank${rank}.npy`));
        const workload = [
          '--num-tokens',
          '500',
          '--num-topk',
          '4',
          '--num-experts',
          '32',
          '--num-ranks',
          '4',
          '--workload',
          'balanced',
        ];
        await succeed(['generate', folder.path('rank{rank}.npy'), ...workload, '--ragged', '1.5']);
        const expected = await json(...files, '--num-experts', '32', '--num-ranks', '4', '--ranks-per-node', '2');
        await using(emptyPage, async (page) => {
          await page.choose('#files', ...files);
          await page.picture('layers-by-ranks');
          await page.type('#ranks-number', '4');
          await page.type('#ranks-per-node', '2');
          await page.picture('traffic-between-ranks');
          await page.expectCaption('traffic-between-ranks', /Each file has the tokens of one rank/);
          for (const [id, name] of [
            ['traffic-between-ranks', 'numTokensBetweenRanks'],
            ['traffic-between-nodes', 'numTokensBetweenNodes'],
          ]) {
            const { numTokens, source } = await page.data(id, downloads);
            assert.strictEqual(source, 'files');
            assert.deepStrictEqual(numTokens, expected.traffic[name]);
          }
        });
      });

      it('shows counts of experts, and plans that are made from them', async () => {
        const lines = [3, 5].flatMap((layer) =>
          Array.from({ length: 12 }, (_, expert) => `${layer},${expert},${expert === layer ? 90 : 10 + expert}`),
        );
        const counts = folder.write('counts.csv', `layer_id,expert_id,count\n${lines.join('\n')}\n`);
        const place = ['place', counts, '--num-experts', '12', '--num-ranks', '4', '--redundant', '4'];
        const expected = await json(...place);
        await using(emptyPage, async (page) => {
          await page.choose('#files', counts);
          await page.expectText('#facts', /tokensnone, only counts/);
          await page.type('#ranks-number', '4');
          await page.page.select('#placement', 'eplb');
          await page.expectText('#redundant-number', /^4$/);
          await page.picture('before-and-after');
          const saved = await page.data('before-and-after', downloads);
          assert.deepStrictEqual(saved.overLayers, expected.plan.layers);
          assert.deepStrictEqual(saved.overLayersBefore, expected.before.layers);
          await page.picture('layers-by-ranks');
          const ranks = await page.data('layers-by-ranks', downloads);
          assert.deepStrictEqual(
            ranks.map(({ loads }: Json) => loads),
            expected.layers.map(({ plan }: Json) => plan.loads),
          );
          await page.expectCaption('windows', /nothing to show/);
        });
      });

      it('reads again with other options, and stops when it is told to', async () => {
        const wide = folder.path(`wide-${kind.name}.npy`);
        await succeed(['generate', wide, '--num-tokens', '4000000', '--num-topk', '8', '--num-experts', '64']);
        await using(emptyPage, async (page) => {
          await page.choose('#files', wide);
          await page.page.waitForSelector('#progress:not([hidden])');
          await page.page.$eval('#cancel', (button) => (button as HTMLElement).click());
          await page.expectText('#problem', /^Reading was cancelled\.$/);
          await page.choose('#files', trace());
          await page.expectText('#facts', /experts32/);
          await page.page.$eval('#reading', (element) => element.setAttribute('open', ''));
          await page.page.type('#numExperts', '40');
          await page.page.click('#again');
          await page.expectText('#facts', /experts40/);
          await page.page.type('#axes', 'nonsense');
          await page.page.click('#again');
          await page.expectText('#problem', /axes/);
        });
      });

      it('fits a phone, and the dark', async () => {
        const path = folder.path('report.html');
        await using(path, async (page) => {
          await page.page.setViewport({ width: 360, height: 800 });
          if (kind.name === 'Chromium') {
            await page.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
            const background = await page.page.$eval('body', (body) => getComputedStyle(body).backgroundColor);
            assert.match(background, /rgb\((\d|[1-4]\d), /);
          }
          await page.picture('layers-by-experts');
          const widths = await page.page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
          assert.isAtMost(widths[0], widths[1]);
        });
      });

      it('says so when its data are damaged', async () => {
        const whole = readFileSync(folder.path('report.html'), 'utf8');
        const path = folder.path(`damaged-${kind.name}.html`);
        writeFileSync(path, whole.replace('"version":1', '"version":99'));
        await using(path, (page) => page.expectText('#problem', /damaged.*version 99/));
      });
    });
  }
});
