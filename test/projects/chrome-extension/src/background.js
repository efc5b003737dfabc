import { layoutText } from './layout.js';

chrome.runtime.onMessage.addListener((topkIdx, _sender, answer) => answer(layoutText(topkIdx)));
