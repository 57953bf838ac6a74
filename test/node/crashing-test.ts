/** A test process that never ends by itself: `test/e2e/node-lifecycle.test.ts` starts it and kills it. */
import { startNode } from './node.ts';

const node = await startNode();
const { directory, network, plane } = node;
process.stdout.write(`${JSON.stringify({ directories: [directory, plane.directory], network })}\n`);
setInterval(() => {}, 60_000);
