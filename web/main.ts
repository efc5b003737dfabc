/**
 * The program of the page. It is its own worker, so that the page has one copy of the library.
 *
 * @module
 */
import { openPage } from './page/page.ts';
import { serve } from './reader/worker.ts';

if (typeof document === 'undefined') serve(self as unknown as Parameters<typeof serve>[0]);
else void openPage(document.currentScript?.textContent ?? '');
