// @vitest-environment happy-dom
import './layout-on-page.js';
