/** A test process that runs until it is killed: `control-plane.test.ts` starts it and kills it. */
import { startControlPlane } from '../../../testing/controlplane/control-plane.ts';

const plane = await startControlPlane();
process.stdout.write(`${JSON.stringify({ directory: plane.directory, pids: Object.values(plane.pids) })}\n`);
setInterval(() => {}, 60_000);
