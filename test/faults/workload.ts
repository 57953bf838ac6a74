/** The reference workload: everything that happens to a resource and its pods, one step at a time. */

import type { LeafFiles } from '../../testing/support/certificates.ts';
import { paths } from './admin.ts';
import type { Ground, Site } from './ground.ts';

export interface Step {
  readonly name: string;
  readonly change: (site: Site) => Promise<void>;
  /** The status must be right too before the next step. It is written once a second, so not in every step. */
  readonly settled?: boolean;
}

const SPEC = {
  certificateRef: { name: 'web-tls' },
  podSelector: { matchLabels: { app: 'web' } },
  lifetimeSeconds: 7200,
};

export interface Leaves {
  readonly first: LeafFiles;
  readonly second: LeafFiles;
  /** The second leaf, and a chain that is one certificate longer. */
  readonly longer: LeafFiles;
}

const made = new WeakMap<Ground, Promise<Leaves>>();

/** Once for all runs of a ground: making certificates takes longer than a step does. */
export async function leavesOf(ground: Ground): Promise<Leaves> {
  const known = made.get(ground);
  if (known !== undefined) return await known;
  const making = (async () => {
    const [first, second] = await Promise.all([ground.authority.issue(), ground.authority.issue()]);
    const longer = { ...second, certificatePem: `${second.certificatePem}\n${ground.authority.certificatePem}` };
    return { first, second, longer };
  })();
  made.set(ground, making);
  return await making;
}

/** What exists before the operator starts, including Secrets that are not dcred's. */
export async function prepare(site: Site): Promise<void> {
  await site.putCertificate((await leavesOf(site.ground)).first);
  await site.plantForeign('stranger');
  // It looks like one of dcred's, but no pod owns it.
  await site.plantForeign('look-alike', {
    'app.kubernetes.io/managed-by': 'dcred',
    'dcred.dev/delegated-credential': 'web',
  });
}

export const STEPS: readonly Step[] = [
  {
    name: 'issue',
    change: async (site) => {
      await site.createResource(SPEC);
      await Promise.all(['web-0', 'web-1', 'web-2'].map((name) => site.createPod(name)));
    },
  },
  {
    name: 'renew',
    change: async (site) => {
      // A request counts in whole seconds, and does not cover what was issued in its own second.
      site.clock.step(10_000);
      const moment = new Date(Math.floor(site.clock.now() / 1000) * 1000).toISOString();
      const annotations = { 'dcred.dev/renew-requested-at': moment };
      await site.admin.patch(`${paths.resources(site.namespace)}/web`, { metadata: { annotations } });
    },
  },
  { name: 'new leaf', change: async (site) => site.putCertificate((await leavesOf(site.ground)).second) },
  { name: 'new chain', change: async (site) => site.putCertificate((await leavesOf(site.ground)).longer) },
  {
    name: 'scale up',
    change: async (site) => {
      await Promise.all(['web-3', 'web-4'].map((name) => site.createPod(name)));
    },
    settled: true,
  },
  {
    name: 'scale down, and replace a pod by one of the same name',
    change: async (site) => {
      await Promise.all(['web-0', 'web-4'].map((name) => site.deletePod(name)));
      await site.createPod('web-0');
    },
  },
  {
    name: 'change the selector and relabel most pods',
    change: async (site) => {
      const spec = { podSelector: { matchLabels: { app: 'shop' } } };
      const relabel = { metadata: { labels: { app: 'shop' } } };
      await Promise.all([
        site.admin.patch(`${paths.resources(site.namespace)}/web`, { spec }),
        ...['web-0', 'web-1', 'web-2'].map((name) =>
          site.admin.patch(`${paths.pods(site.namespace)}/${name}`, relabel),
        ),
      ]);
    },
    settled: true,
  },
  {
    name: 'delete the resource',
    change: async (site) => site.admin.delete(`${paths.resources(site.namespace)}/web`),
  },
];
