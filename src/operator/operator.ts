/**
 * The operator, wired together.
 *
 *   start -> watch (every replica keeps its caches warm) -> lead (one at a time: certificates, workers) -> drain -> end
 *
 * Which keys a change of the cluster enqueues is decided here and nowhere else.
 */
import { CONTROLLER_NAME } from '../api/keys.ts';
import { selects } from '../api/pod-selector.ts';
import { isReadable } from '../api/read.ts';
import { generateCredentialKey } from '../credential/credential-key.ts';
import { podKeyOf } from '../issued-secret/issued-secret.ts';
import { formatObjectKey, formatPodKey, type ObjectKey, type PodKey, parseObjectKey } from '../issued-secret/names.ts';
import type { Change, ReflectorEvent } from '../kubernetes/cache/reflector.ts';
import { aborted } from '../kubernetes/deadline.ts';
import { EventRecorder } from '../kubernetes/events/event-recorder.ts';
import type { ShardElection } from '../kubernetes/leader/shard-election.ts';
import { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import { type Outcome, runWorkers } from '../kubernetes/queue/workers.ts';
import { tracedReconcile } from '../tracing/reconcile.ts';
import { untraced } from '../tracing/tracing.ts';
import { type CachedSecret, Caches, type Resource } from './caches.ts';
import { type CertificateLink, linkCertificates } from './certificate-link.ts';
import { ClusterClock, watchSkew } from './cluster-clock.ts';
import { Membership } from './core/membership.ts';
import { metadataIgnored, type PodWarning, unservedResources } from './core/missed-injection.ts';
import { type Pod, samePod } from './core/pod.ts';
import type { ForeignUsers } from './grants/foreign-users.ts';
import type { OperatorOptions } from './operator-options.ts';
import { type OperatorClient, ownedClient } from './owned-client.ts';
import { PodFailures } from './pod-failure.ts';
import { Applier } from './pods/apply.ts';
import { KubeletNudge } from './pods/kubelet-nudge.ts';
import { PodController } from './pods/pod-controller.ts';
import { WavePacer } from './pods/wave-pacer.ts';
import { Reporter } from './reporting/reporter.ts';
import { ResourceController } from './resources/resource-controller.ts';
import { serveShards } from './shards/serve-shards.ts';
import { EVERYTHING, type NamespaceOwnership, ShardSet } from './shards/shard-set.ts';
import { TakenNames } from './taken-names.ts';

const RESOURCE_WORKERS = 2;
/** A pod and the resource that it names are often created together, in any order: no warning before this has passed. */
const UNSERVED_MS = 3_000;
/** How long work in progress may take to finish at shutdown; a request to the API server takes milliseconds. */
const DRAIN_MS = 5_000;
const FLUSH_MS = 2_000;

export class Operator {
  readonly #options: OperatorOptions;
  readonly #membership = new Membership({
    get: (namespace, name) => this.#caches.pods.get(namespace, name),
    inNamespace: (namespace) => this.#caches.pods.byIndex(namespace, 'namespace', namespace),
  });
  readonly #podQueue: WorkQueue;
  readonly #resourceQueue: WorkQueue;
  readonly #grantQueue: WorkQueue;
  readonly #caches: Caches;
  /** Before it leads, this process enqueues nothing: no worker takes keys, and those of deleted pods would pile up. */
  #leading = false;
  #ownership: NamespaceOwnership = EVERYTHING;
  /** Records a warning about a pod; only the leader does. */
  #warn: (pod: Pod, warning: PodWarning) => void = () => {};
  #pods: PodController | undefined;
  #resources: ResourceController | undefined;
  #names: TakenNames | undefined;
  #foreignUsers: ForeignUsers | undefined;
  readonly #clock: ClusterClock;

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { client, log, metrics, namespaces, random } = options;
    const clock = new ClusterClock(options.clock, () => client.clockMeasurement);
    this.#clock = clock;
    const queue = (name: string) => {
      const made = new WorkQueue({ clock, random, observe: (event) => metrics.engine.queueEvent(name, event) });
      metrics.engine.watchQueue(name, made);
      return made;
    };
    this.#podQueue = queue('pod');
    this.#resourceQueue = queue('resource');
    options.pace?.follow(this.#podQueue);
    options.outage?.follow(() => this.#serverIsBack());
    this.#grantQueue = queue('grant');
    for (const lease of options.shards?.leaseNames ?? [options.leaseName]) metrics.engine.leading(lease, false);
    this.#caches = new Caches({
      namespaces,
      engine: (kind) => this.#engine(kind),
      onResource: (change) => this.#resourceChanged(change),
      onPod: (change) => this.#podChanged(change),
      onSecret: (change) => this.#secretChanged(change),
      onRefused: ({ namespace, reason, resource: plural }) =>
        log.error({ plural, namespace, reason }, 'namespace cannot be read: its pods are not served'),
    });
    metrics.watchRefusals(() => this.#caches.refusals);
    metrics.watchClockSkew(() => clock.skewMs);
  }

  /** Why this process does not serve all that it should; undefined when it does. */
  get notReady(): string | undefined {
    return this.#caches.problem;
  }

  /** Resolves when every namespace has been listed, or refused, once. */
  async settled(): Promise<void> {
    await this.#caches.settled();
  }

  /** Runs until the signal, then until work in progress is done. `lost`: the lease was lost, and the process must exit. */
  async run(signal: AbortSignal): Promise<'released' | 'lost'> {
    const { elector, shards } = this.#options;
    const watching = new AbortController();
    const watches = this.#caches.run(watching.signal);
    try {
      if (shards !== undefined) return await this.#leadShards(shards, signal);
      if (elector !== undefined) return await elector.run({ signal, lead: (leading) => this.#lead(leading) });
      await this.#lead(signal);
      return 'released';
    } finally {
      watching.abort();
      await watches;
    }
  }

  /** Everything is set up once, and serves whichever shards this process holds. Losing one does not end the process. */
  async #leadShards(shards: ShardElection, signal: AbortSignal): Promise<'released'> {
    const served = new ShardSet(shards.leaseNames.length);
    this.#ownership = served;
    // Whoever cannot see the cluster yet takes no shard.
    await Promise.race([this.#caches.settled(), aborted(signal)]);
    const serving = serveShards({
      election: shards,
      served,
      clock: this.#clock,
      drainMs: DRAIN_MS,
      log: this.#options.log,
      leading: (lease, isServed) => this.#options.metrics.engine.leading(lease, isServed),
      begun: (isMeant) => this.#enqueueAll(isMeant),
      ended: (isMeant) => {
        this.#resources?.release(isMeant);
        this.#foreignUsers?.refresh();
      },
      signal,
    });
    await Promise.all([this.#lead(signal), serving]);
    return 'released';
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const { client, instance, leaseName, log, metrics, namespace, workers } = this.#options;
    const clock = this.#clock;
    // Each namespace by itself: one that cannot be read keeps no other from being served.
    await Promise.race([this.#caches.settled(), aborted(signal)]);
    if (signal.aborted) return;
    const isOnly = this.#ownership === EVERYTHING;
    if (isOnly) {
      log.info({}, 'leading');
      metrics.engine.leading(leaseName, true);
    }
    const events = new EventRecorder({
      client,
      controller: CONTROLLER_NAME,
      instance,
      namespace,
      clock,
      log,
      onDropped: (reason) => metrics.engine.eventDropped(reason),
    });
    const reporter = new Reporter({ events, metrics, log, clock });
    // Two signals: `signal` stops workers from taking keys, at once; keys that were taken may finish. What is left in the queues
    // is for the next leader, who enqueues everything anyway.
    const working = new AbortController();
    const controllers = this.#controllers(reporter, working.signal);
    const work = { taking: signal, working: working.signal };
    const ended = Promise.all([
      this.#work('pod', this.#podQueue, workers, controllers.pods, work),
      this.#work('resource', this.#resourceQueue, RESOURCE_WORKERS, controllers.resources, work),
      this.#work('grant', this.#grantQueue, 1, controllers.grants, work),
    ]);
    this.#leading = true;
    this.#warn = (pod, warning) => reporter.podWarned(pod, '', warning);
    this.#pods = controllers.pods;
    this.#resources = controllers.resources;
    this.#names = controllers.names;
    this.#foreignUsers = controllers.foreignUsers;
    this.#enqueueAll();
    this.#enqueueLateNamespaces();
    const clockTimer = watchSkew(clock, log, () => this.#enqueueResources());
    await aborted(signal);
    log.info({}, 'draining');
    const drainTimer = clock.setTimeout(() => working.abort(), DRAIN_MS);
    await ended;
    drainTimer.cancel();
    clockTimer.cancel();
    working.abort();
    this.#podQueue.shutDown();
    this.#resourceQueue.shutDown();
    this.#grantQueue.shutDown();
    await Promise.all([controllers.certificates.ended(), controllers.names.ended()]);
    reporter.flush();
    await events.flush(AbortSignal.timeout(FLUSH_MS));
    if (isOnly) metrics.engine.leading(leaseName, false);
  }

  #controllers(reporter: Reporter, signal: AbortSignal) {
    const { generateKey = generateCredentialKey, log, metrics, namespaces, notifyPods, pace } = this.#options;
    const inSpan = this.#options.tracing?.inSpan;
    const clock = this.#clock;
    const ownership = this.#ownership;
    const client = ownedClient(this.#options.client, (namespace) => ownership.mayWrite(namespace));
    const { problem: signerProblem, proof, ...link } = this.#certificates(client, signal);
    const { certificates, grants } = link;
    const names = new TakenNames({
      engine: this.#engine('secrets'),
      namespaces,
      log,
      onFree: (key) => this.#podQueue.add(key),
      signal,
    });
    const failures = new PodFailures();
    const shared = { caches: this.#caches, certificates, clock, failures, names, reporter };
    const resources = new ResourceController({
      ...shared,
      client,
      grants,
      membership: this.#membership,
      podQueue: this.#podQueue,
      resourceQueue: this.#resourceQueue,
      isClockSkewed: () => clock.isSkewed,
      signerProblem,
      metrics,
    });
    const pods = new PodController({
      ...shared,
      applier: new Applier({ client, generateKey, clock, grants: proof, writes: pace?.writes, inSpan }),
      enqueue: (key) => this.#podQueue.add(key),
      pacer: new WavePacer({ maxPerSecond: this.#options.maxReissuesPerSecond, queue: this.#podQueue, clock }),
      ownNamespace: this.#options.namespace,
      nudge: notifyPods ? new KubeletNudge({ client, clock, log, metrics }) : undefined,
      onOutcome: (key) => resources.podReconciled(key),
    });
    return { ...link, names, pods, resources };
  }

  #certificates(client: OperatorClient, signal: AbortSignal): CertificateLink {
    return linkCertificates({
      ...this.#options,
      client,
      clock: this.#clock,
      engine: (kind) => this.#engine(kind),
      grantQueue: this.#grantQueue,
      onCertificate: (key) => this.#resourceQueue.add(key),
      resources: this.#caches.resources,
      serves: (namespace) => this.#serves(namespace),
      onSignerProblem: () => this.#enqueueResources(),
      signal,
    });
  }

  #serverIsBack(): void {
    const queues = [this.#podQueue, this.#resourceQueue, this.#grantQueue];
    const keys = queues.reduce((sum, queue) => sum + queue.retryUnavailable(), 0);
    this.#options.log.info({ keys }, 'the API server answers again: retrying what failed meanwhile');
  }

  #enqueueResources(isMeant: (namespace: string) => boolean = () => true): void {
    for (const resource of this.#caches.resources.values()) {
      const { namespace } = resource;
      if (isMeant(namespace) && this.#serves(namespace)) this.#resourceQueue.add(formatObjectKey(resource));
    }
  }

  #work(
    name: string,
    queue: WorkQueue,
    workers: number,
    controller: { readonly reconcile: (key: string, signal: AbortSignal) => Promise<Outcome> },
    { taking, working }: { readonly taking: AbortSignal; readonly working: AbortSignal },
  ): Promise<void> {
    const { log, metrics, pace, tracing: { inSpan } = { inSpan: untraced } } = this.#options;
    return runWorkers({
      gate: queue === this.#podQueue ? pace?.gate : undefined,
      queue,
      workers,
      reconcile: tracedReconcile(inSpan, name, (key) => this.#reconcile(key, controller, working)),
      signal: taking,
      log: log.child({ queue: name }),
      observe: (observation) => metrics.reconciled(name, observation),
    });
  }

  /** A key of a namespace that is not served, or no longer, is done: whoever serves it enqueues it. */
  async #reconcile(key: string, controller: Pick<PodController, 'reconcile'>, working: AbortSignal): Promise<Outcome> {
    const { namespace } = parseObjectKey(key);
    const work = (signal = working) => controller.reconcile(key, signal);
    const outcome = await this.#ownership.during(namespace, work);
    return outcome !== undefined && this.#ownership.serves(namespace) ? outcome : { kind: 'done' };
  }

  #serves(namespace: string): boolean {
    return this.#leading && this.#ownership.serves(namespace);
  }

  #engine(kind: string) {
    const { client, clock, log, metrics, random } = this.#options;
    return {
      client,
      clock,
      random,
      log: log.child({ watch: kind }),
      observe: (event: ReflectorEvent) => metrics.engine.watchEvent(kind, event),
    };
  }

  /** Whatever happened before this process led. Pods without a Secret are enqueued by their resource: see `fanOut`. */
  #enqueueAll(isMeant: (namespace: string) => boolean = () => true): void {
    const isServed = ({ namespace }: ObjectKey) => isMeant(namespace) && this.#serves(namespace);
    this.#enqueueResources(isMeant);
    this.#foreignUsers?.refresh();
    for (const pod of this.#caches.pods.values()) {
      if (!isServed(pod)) continue;
      this.#warnIgnored(pod, undefined);
      this.#scheduleUnservedCheck(pod);
    }
    for (const { issued } of this.#caches.secrets.values()) {
      if (issued === undefined || !isServed(issued)) continue;
      this.#pods?.secretSeen(issued, undefined);
      // What expires first comes first, also after a restart.
      this.#podQueue.add(podKeyOf(issued), 'background', (issued.facts?.expiresAt ?? 0) * 1000);
    }
  }

  /** Nothing is decided in a namespace before it is complete: then all of it is enqueued. */
  #enqueueLateNamespaces(): void {
    for (const scope of this.#caches.incomplete) {
      void this.#caches.complete(scope).then(() => this.#enqueueAll());
    }
  }

  #resourceChanged({ current, previous }: Change<Resource>): void {
    const changed = current ?? previous;
    if (changed === undefined) return;
    this.#foreignUsers?.changed(formatObjectKey(changed));
    if (!this.#serves(changed.namespace)) return;
    if (current !== undefined && previous !== undefined && this.#resources?.isEcho(previous, current)) return;
    this.#resourceQueue.add(formatObjectKey(changed));
  }

  #podChanged({ current, previous }: Change<Pod>): void {
    if (current !== undefined && previous !== undefined && samePod(current, previous)) return;
    const pod = current ?? previous;
    if (pod === undefined) return;
    const resources = this.#membership.podChanged(previous, current);
    this.#pods?.podChanged(pod);
    if (!this.#serves(pod.namespace)) return;
    for (const resourceName of resources) this.#enqueuePod({ namespace: pod.namespace, resourceName, pod: pod.name });
    if (current === undefined) return;
    this.#warnIgnored(current, previous);
    this.#scheduleUnservedCheck(current);
  }

  #warnIgnored({ ignored, ...pod }: Pod, previous: Pod | undefined): void {
    if (ignored !== undefined && ignored !== previous?.ignored) this.#warn(pod, metadataIgnored(ignored));
  }

  /** A name that no resource serves yet is checked in a moment; by then one may serve it. */
  #scheduleUnservedCheck(pod: Pod): void {
    const { name, namespace } = pod;
    const isServed = (resourceName: string) => {
      const value = this.#caches.resources.get(namespace, resourceName)?.value;
      if (value === undefined) return false;
      return !isReadable(value) || selects(resourceName, value.spec.podSelector, pod);
    };
    for (const resource of unservedResources(pod, isServed)) {
      this.#podQueue.addAfter(formatPodKey({ namespace, resourceName: resource, pod: name }), UNSERVED_MS);
    }
  }

  #secretChanged({ current, previous }: Change<CachedSecret>): void {
    this.#pods?.secretChanged(previous?.issued, current?.issued);
    if (!this.#serves((current ?? previous)?.namespace ?? '')) return;
    const before = previous?.issued;
    if (current?.issued !== undefined) this.#pods?.secretSeen(current.issued, before);
    if (before !== undefined && current?.issued?.uid !== before.uid) this.#pods?.secretGone(before);
    if (current === undefined && previous !== undefined) this.#names?.freed(formatObjectKey(previous));
    for (const { namespace, podName, resourceName } of [before, current?.issued].filter((one) => one !== undefined)) {
      this.#enqueuePod({ namespace, resourceName, pod: podName });
    }
  }

  #enqueuePod(key: PodKey): void {
    this.#resources?.podChanged(key);
    this.#podQueue.add(formatPodKey(key));
  }
}
