import { layoutText } from './layout.js';

const topkIdx = [[0, 5], [6, -1]];
const ofPage = layoutText(topkIdx);
const ofServiceWorker = await chrome.runtime.sendMessage(topkIdx);
document.querySelector('output').textContent = `page: ${ofPage}; service worker: ${ofServiceWorker}`;
