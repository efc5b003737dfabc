/** The suite in Cloudflare workerd: options as the body of the request, results as that of the response. */
import { runSuite } from './suite.js';

export default {
  async fetch(request) {
    return Response.json(await runSuite(await request.json()));
  },
};
