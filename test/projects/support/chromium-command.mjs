/**
 * How Chromium is started for tests. This module does nothing by itself, so that importing it starts no process.
 *
 * @module
 */

/** The names that its executable can have. */
export const chromiumNames = ['chromium', 'chromium-browser', 'google-chrome'];

/** Flags with which it shows no window, runs in a container, and sends no requests of its own. */
export const quietFlags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--disable-sync',
  '--disable-background-networking',
  '--disable-component-update',
  '--no-first-run',
];
