/**
 * Runs the suite in Cloudflare workerd. The body of the request has the options, and the body of the response has the
 * results.
 */
import { runSuite } from './suite.js';

export default {
  async fetch(request) {
    return Response.json(await runSuite(await request.json()));
  },
};
