// @vitest-environment jsdom
import './layout-on-page.js';
